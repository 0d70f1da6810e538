//! Who this worker is: what tells it from another worker that has the same name.

use std::fs;
use std::io;
use std::path::Path;

use dsbus_schema::call::Pong;
use dsbus_schema::ids::Incarnation;
use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::Touch;
use dsbus_supervisor::protocol::Hello;
use uuid::Uuid;

/// Who a touch speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// See [`Touch::machine`].
    pub machine: String,
    /// See [`Touch::boot`].
    pub boot: Uuid,
    /// The state directory.
    pub directory: String,
    /// Host name, for people.
    pub host: String,
    /// The supervisor's run.
    pub incarnation: Incarnation,
    /// When this agent started: what a dead predecessor sent is older.
    pub began: BootTime,
}

impl Identity {
    /// Reads it from the machine.
    pub fn read(hello: &Hello, now: BootTime) -> io::Result<Identity> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let boot = Uuid::parse_str(boot.trim()).map_err(io::Error::other)?;
        let host = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
        Ok(Identity {
            machine: machine(Path::new("/etc/machine-id"), Path::new(&hello.directory))?,
            boot,
            directory: hello.directory.clone(),
            host,
            incarnation: hello.incarnation,
            began: now,
        })
    }

    /// Somebody of whom nothing is known.
    pub fn nobody() -> Identity {
        Identity {
            machine: String::new(),
            boot: Uuid::nil(),
            directory: "?".to_owned(),
            host: "?".to_owned(),
            incarnation: Incarnation(Uuid::nil()),
            began: BootTime(0),
        }
    }

    /// Whether the touch was sent from this state directory, on this boot of this machine, under
    /// this host name (containers share the rest, and differ in that). We hold the directory's lock, so whoever sent it is dead unless it is us.
    pub fn same_place(&self, touch: &Touch) -> bool {
        self.machine == touch.machine
            && self.boot == touch.boot
            && self.host == touch.host
            && self.directory == touch.directory
    }

    /// Whether whoever answered lives in this state directory of this machine.
    pub fn same_place_as(&self, pong: &Pong) -> bool {
        self.machine == pong.machine && self.host == pong.host && self.directory == pong.directory
    }

    /// Whether this very run of the supervisor sent it.
    pub fn mine(&self, touch: &Touch) -> bool {
        self.incarnation == touch.incarnation
    }

    /// A touch to send.
    pub fn touch(&self, attempt: u64, sent: BootTime) -> Touch {
        Touch {
            machine: self.machine.clone(),
            boot: self.boot,
            directory: self.directory.clone(),
            host: self.host.clone(),
            incarnation: self.incarnation,
            attempt,
            sent,
        }
    }

    /// What a ping is answered with.
    pub fn pong(&self, supervisor_pid: i32) -> Pong {
        Pong {
            incarnation: self.incarnation,
            host: self.host.clone(),
            machine: self.machine.clone(),
            directory: self.directory.clone(),
            supervisor_pid,
        }
    }
}

/// The machine's id; on a machine without one (many containers), an id that is made once and kept
/// in the state directory.
fn machine(system: &Path, directory: &Path) -> io::Result<String> {
    let made = directory.join("machine-id");
    for path in [system, &made] {
        // A file that systemd has not filled in yet says "uninitialized".
        if let Ok(text) = fs::read_to_string(path)
            && !text.trim().is_empty()
            && text.trim() != "uninitialized"
        {
            return Ok(text.trim().to_owned());
        }
    }
    let id = Uuid::now_v7().simple().to_string();
    fs::write(&made, format!("{id}\n"))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_gets_one_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let system = directory.path().join("etc-machine-id");
        let first = machine(&system, directory.path()).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(machine(&system, directory.path()).unwrap(), first);
        fs::write(&system, "uninitialized\n").unwrap();
        assert_eq!(machine(&system, directory.path()).unwrap(), first);
        fs::write(&system, "abc\n").unwrap();
        assert_eq!(machine(&system, directory.path()).unwrap(), "abc");
    }
}
