//! Whom a child runs as: a user of this machine, its group, and all groups that it is a member of.
//! Everything is looked up before the fork, because nothing may be looked up after it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::time::Duration;

use dsbus_schema::moment::BootTime;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::clock;

/// How long an account is taken for what it was. A user or a group that is changed is seen after
/// that; restarts do not ask again.
const KEPT: Duration = Duration::from_secs(300);
/// Most accounts that are kept; more are forgotten all at once.
const ACCOUNTS_MAX: usize = 1000;

/// Accounts that were looked up, by what was asked for. A directory in the network that does not
/// answer holds the whole worker up, because looking up cannot be broken off; what is left of that
/// is the first start of a user, and one start in [`KEPT`].
#[derive(Debug, Default)]
pub(crate) struct Accounts(RefCell<BTreeMap<String, (BootTime, Account)>>);

impl Accounts {
    /// As [`Account::find`], which is asked now and then.
    ///
    /// # Errors
    /// As there; errors are not kept.
    pub(crate) fn find(&self, text: &str) -> Result<Account, String> {
        self.find_by(text, clock::now().boot, Account::find)
    }

    fn find_by(
        &self,
        text: &str,
        now: BootTime,
        find: impl FnOnce(&str) -> Result<Account, String>,
    ) -> Result<Account, String> {
        let mut known = self.0.borrow_mut();
        if let Some((since, account)) = known.get(text)
            && now.since(*since) < KEPT
        {
            return Ok(account.clone());
        }
        let account = find(text)?;
        if known.len() >= ACCOUNTS_MAX {
            known.clear();
        }
        known.insert(text.to_owned(), (now, account.clone()));
        Ok(account)
    }
}

/// A user with a group, as the kernel knows them, and what its children are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, `gid` among them.
    pub(crate) groups: Vec<u32>,
    /// `None` for a number that no user has.
    pub(crate) name: Option<String>,
    pub(crate) home: Option<OsString>,
}

impl Account {
    /// Looks up `user` or `user:group`; each is a name or a number.
    ///
    /// # Errors
    /// A sentence that says which of them this machine does not know.
    fn find(text: &str) -> Result<Account, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number = user.parse().ok();
        let known = match number {
            Some(uid) => User::from_uid(Uid::from_raw(uid)),
            None => User::from_name(user),
        };
        let known = known.map_err(|e| format!("user {user} cannot be looked up: {e}"))?;
        let gid = match (group, &known) {
            (Some(group), _) => gid_of(group)?,
            (None, Some(known)) => known.gid.as_raw(),
            (None, None) if number.is_some() => {
                return Err(format!(
                    "no user has the number {user} on this machine, so its group must be said: {user}:GROUP"
                ));
            }
            (None, None) => return Err(format!("user {user} does not exist on this machine")),
        };
        match (known, number) {
            (Some(known), _) => {
                let groups = groups_of(&known.name, gid)?;
                let (name, home) = (Some(known.name), Some(known.dir.into_os_string()));
                Ok(Account { uid: known.uid.as_raw(), gid, groups, name, home })
            }
            (None, Some(uid)) => {
                Ok(Account { uid, gid, groups: vec![gid], name: None, home: None })
            }
            (None, None) => Err(format!("user {user} does not exist on this machine")),
        }
    }
}

fn gid_of(group: &str) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    Group::from_name(group)
        .map_err(|e| format!("group {group} cannot be looked up: {e}"))?
        .map(|known| known.gid.as_raw())
        .ok_or_else(|| format!("group {group} does not exist on this machine"))
}

/// What initgroups(3) would set, but before the fork.
fn groups_of(user: &str, gid: u32) -> Result<Vec<u32>, String> {
    let failed = |e: String| format!("the groups of user {user} cannot be looked up: {e}");
    let name = CString::new(user).map_err(|e| failed(e.to_string()))?;
    let groups =
        getgrouplist(&name, Gid::from_raw(gid)).map_err(|e| failed(e.desc().to_owned()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_and_groups() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_deref()), (0, 0, Some("root")));
        assert_eq!(Account::find("0").unwrap(), root);
        assert_eq!(Account::find("root:7").unwrap().gid, 7);
        assert!(Account::find("root:7").unwrap().groups.contains(&7));
        let nameless = Account::find("54321:54322").unwrap();
        assert_eq!((nameless.uid, nameless.gid, nameless.groups), (54321, 54322, vec![54322]));
        assert_eq!(nameless.name, None);
    }

    #[test]
    fn who_was_looked_up_is_not_looked_up_again_for_a_while() {
        let accounts = Accounts::default();
        let at = |seconds: u64| BootTime::default() + Duration::from_secs(seconds);
        let never = |_: &str| Err("asked".to_owned());
        assert!(accounts.find_by("root", at(10), never).is_err());
        let root = accounts.find_by("root", at(10), Account::find).unwrap();
        assert_eq!(accounts.find_by("root", at(309), never), Ok(root));
        assert!(accounts.find_by("root", at(310), never).is_err());
    }

    #[test]
    fn who_is_not_known_is_told() {
        for (text, told) in [
            ("no-such-user", "user no-such-user does not exist"),
            ("root:no-such-group", "group no-such-group does not exist"),
            ("54321", "54321:GROUP"),
        ] {
            let why = Account::find(text).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
