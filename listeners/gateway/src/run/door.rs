//! Who may open a socket in the file system: `chmod` and `chown` of Supervisor's `unix_http_server`.

use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::unistd::{Group, User};

/// As Supervisor's, unless told otherwise.
const MODE_DEFAULT: u32 = 0o700;
/// All bits that a mode has.
const MODE_MAX: u32 = 0o777;

/// Who may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    mode: u32,
    /// Its owner's name.
    user: Option<String>,
    /// Its group's name; that of the owner where only he is named.
    group: Option<String>,
}

impl Default for Door {
    fn default() -> Door {
        Door { mode: MODE_DEFAULT, user: None, group: None }
    }
}

impl Door {
    /// Of a mode in octal, `0770`, and an owner: `ann`, `ann:admins` or `:admins`.
    ///
    /// # Errors
    /// When one is no such thing.
    pub fn parse(mode: Option<&str>, owner: Option<&str>) -> Result<Door, String> {
        let mut door = Door::default();
        if let Some(text) = mode {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let read = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= MODE_MAX);
            let wrong =
                || format!("chmod: expected a mode in octal such as \"0770\", found {text:?}");
            door.mode = read.ok_or_else(wrong)?;
        }
        if let Some(text) = owner {
            let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
            let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            (door.user, door.group) = (named(user), group.and_then(named));
            if text.is_empty() || group == Some("") {
                return Err(format!("chown: expected USER, USER:GROUP or :GROUP, found {text:?}"));
            }
        }
        Ok(door)
    }

    /// Sets it. The owner comes first, since changing him takes rights away.
    ///
    /// # Errors
    /// When nobody is called so, or it is not this process's to give away.
    pub(super) fn set(&self, path: &Path) -> io::Result<()> {
        let nobody =
            |what: &str, name: &str| io::Error::other(format!("no {what} is named {name}"));
        let mut owner = (None, None);
        if let Some(name) = &self.user {
            let user = User::from_name(name)?.ok_or_else(|| nobody("user", name))?;
            owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        }
        if let Some(name) = &self.group {
            let group = Group::from_name(name)?.ok_or_else(|| nobody("group", name))?;
            owner.1 = Some(group.gid.as_raw());
        }
        if owner != (None, None) {
            chown(path, owner.0, owner.1)
                .map_err(|e| io::Error::new(e.kind(), format!("chown: {e}")))?;
        }
        set_permissions(path, Permissions::from_mode(self.mode))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::unistd::{getegid, geteuid};

    use super::*;

    #[test]
    fn a_door_is_read() {
        let door = |mode: u32, user: Option<&str>, group: Option<&str>| Door {
            mode,
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
        };
        for (mode, owner, read) in [
            (None, None, Door::default()),
            (Some("0770"), None, door(0o770, None, None)),
            (Some("666"), Some("ann"), door(0o666, Some("ann"), None)),
            (Some("0o660"), Some("ann:admins"), door(0o660, Some("ann"), Some("admins"))),
            (None, Some(":admins"), door(0o700, None, Some("admins"))),
        ] {
            assert_eq!(Door::parse(mode, owner), Ok(read), "{mode:?} {owner:?}");
        }
        for (mode, owner) in [
            (Some("rwx"), None),
            (Some("0999"), None),
            (Some("1777"), None),
            (Some(""), None),
            (None, Some("")),
            (None, Some(":")),
            (None, Some("ann:")),
        ] {
            Door::parse(mode, owner).unwrap_err();
        }
    }

    #[test]
    fn a_door_is_set() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let user = User::from_uid(geteuid()).unwrap().unwrap().name;
        let group = Group::from_gid(getegid()).unwrap().unwrap().name;
        for (mode, owner) in [("0660", format!("{user}:{group}")), ("0606", format!(":{group}"))] {
            Door::parse(Some(mode), Some(&owner)).unwrap().set(file.path()).unwrap();
            let found = file.path().metadata().unwrap();
            assert_eq!(found.mode() & 0o777, u32::from_str_radix(mode, 8).unwrap(), "{owner}");
            assert_eq!((found.uid(), found.gid()), (geteuid().as_raw(), getegid().as_raw()));
        }
        let unknown = Door::parse(None, Some("nobody-of-this-name")).unwrap();
        let said = unknown.set(file.path()).unwrap_err().to_string();
        assert_eq!(said, "no user is named nobody-of-this-name");
        let unknown = Door::parse(None, Some(":nobody-of-this-name")).unwrap();
        unknown.set(file.path()).unwrap_err();
    }
}
