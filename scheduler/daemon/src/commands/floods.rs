//! How many refusals of one user are told: a client that is refused all the time must not push other
//! events out of the stream. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::UserName;
use dsbus_schema::moment::BootTime;

/// Refusals of one user that are told within [`WINDOW`] by one scheduler; the others are counted.
const TOLD_MAX: u32 = 60;
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
}

impl Floods {
    /// Whether a refusal is told, and how many were not told before it.
    pub(super) fn refused(&mut self, user: &UserName, now: BootTime) -> Option<u64> {
        if !self.users.contains_key(user) && self.users.len() >= USERS_MAX {
            let first = self.users.iter().min_by_key(|(_, count)| count.since);
            if let Some(first) = first.map(|(user, _)| user.clone()) {
                self.users.remove(&first);
            }
        }
        let fresh = || Count { since: now, told: 0, untold: 0 };
        let count = self.users.entry(user.clone()).or_insert_with(fresh);
        if now.since(count.since) >= WINDOW {
            (count.since, count.told) = (now, 0);
        }
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
        let told = (0..1000).filter(|_| floods.refused(&user("bad"), at(1)).is_some()).count();
        assert_eq!(told, 60);
        assert_eq!(floods.refused(&user("ann"), at(1)), Some(0));
        assert_eq!(floods.refused(&user("bad"), at(60)), None);
        assert_eq!(floods.refused(&user("bad"), at(61)), Some(941));
        assert_eq!(floods.refused(&user("bad"), at(61)), Some(0));
        for n in 0..5000 {
            floods.refused(&user(&format!("u{n}")), at(62));
        }
        assert_eq!(floods.users.len(), 1024);
    }
}
