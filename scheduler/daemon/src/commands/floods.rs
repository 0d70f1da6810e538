//! How many refusals of one user are told: a client that is refused all the time must not push other
//! events out of the stream. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::UserName;
use dsbus_schema::moment::BootTime;

/// Refusals of one user that are told within [`WINDOW`] by one scheduler; the others are counted.
const TOLD_MAX: u32 = 60;
/// Commands that one user was not granted within [`WINDOW`], after which this scheduler refuses all of
/// his without a look: a look asks the bus, and others wait for it.
const FORBIDDEN_MAX: u32 = 100;
/// See [`TOLD_MAX`].
const WINDOW: Duration = Duration::from_secs(60);
/// Users that are counted for themselves at once. Beyond it the one whose window began first is
/// forgotten, and may be told of again.
const USERS_MAX: usize = 1024;

/// Who was refused lately, and how often.
#[derive(Debug, Default)]
pub(super) struct Floods {
    users: BTreeMap<UserName, Count>,
}

#[derive(Debug)]
struct Count {
    since: BootTime,
    told: u32,
    untold: u64,
    forbidden: u32,
}

impl Floods {
    /// Whether a user has so often commanded what he is not granted that it is not looked at now.
    pub(super) fn is_flood(&self, user: &UserName, now: BootTime) -> bool {
        self.users.get(user).is_some_and(|count| {
            count.forbidden >= FORBIDDEN_MAX && now.since(count.since) < WINDOW
        })
    }

    /// Whether a refusal is told, and how many were not told before it.
    pub(super) fn refused(
        &mut self,
        user: &UserName,
        forbidden: bool,
        now: BootTime,
    ) -> Option<u64> {
        if !self.users.contains_key(user) && self.users.len() >= USERS_MAX {
            let first = self.users.iter().min_by_key(|(_, count)| count.since);
            if let Some(first) = first.map(|(user, _)| user.clone()) {
                self.users.remove(&first);
            }
        }
        let fresh = || Count { since: now, told: 0, untold: 0, forbidden: 0 };
        let count = self.users.entry(user.clone()).or_insert_with(fresh);
        if now.since(count.since) >= WINDOW {
            (count.since, count.told, count.forbidden) = (now, 0, 0);
        }
        count.forbidden += u32::from(forbidden);
        if count.told >= TOLD_MAX {
            count.untold += 1;
            return None;
        }
        count.told += 1;
        Some(std::mem::take(&mut count.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_share_of_his_own() {
        let mut floods = Floods::default();
        let user = |name: &str| UserName::parse(name).unwrap();
        let at = |seconds| BootTime(0) + Duration::from_secs(seconds);
        let told =
            (0..1000).filter(|_| floods.refused(&user("bad"), true, at(1)).is_some()).count();
        assert_eq!(told, 60);
        assert_eq!(floods.refused(&user("ann"), false, at(1)), Some(0));
        assert_eq!(floods.refused(&user("bad"), true, at(60)), None);
        assert_eq!(floods.refused(&user("bad"), true, at(61)), Some(941));
        assert_eq!(floods.refused(&user("bad"), true, at(61)), Some(0));
        assert!(!floods.is_flood(&user("bad"), at(62)), "a new minute");
        for _ in 0..98 {
            assert!(!floods.is_flood(&user("bad"), at(62)));
            floods.refused(&user("bad"), true, at(62));
            floods.refused(&user("ann"), false, at(62));
        }
        assert!(floods.is_flood(&user("bad"), at(120)) && !floods.is_flood(&user("bad"), at(122)));
        assert!(!floods.is_flood(&user("ann"), at(62)), "he may, and it cannot be done");
        for n in 0..5000 {
            floods.refused(&user(&format!("u{n}")), true, at(62));
        }
        assert_eq!(floods.users.len(), 1024);
    }
}
