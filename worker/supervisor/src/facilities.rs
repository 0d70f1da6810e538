//! What this machine is, and what its worker can do for a child. Everything is found by looking at
//! what the kernel says of this process, once, at its start.

use std::path::Path;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::program::{
    CAPABILITIES, CGROUP, Capability, ENVIRONMENT_FILE, ENVIRONMENT_SECRET, EVENT_LISTENERS,
    Facility, USER,
};
use dsbus_schema::worker::PolicyFacts;
use nix::sys::resource::{Resource, getrlimit};

use crate::cgroup::{self, CgroupRoot};
use crate::config::Settings;
use crate::policy::{Hashes, Policy};
use crate::spawn::{Inherited, Reserve};
use crate::users::Accounts;

/// Facts that do not change while a worker runs.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Name of the host.
    pub(crate) host: String,
    /// The worker's effective user.
    pub(crate) uid: u32,
    /// The worker's effective group.
    pub(crate) gid: u32,
    pub(crate) capabilities: Capabilities,
    /// Where children get their cgroups; `None` when they get none.
    pub(crate) cgroups: Option<CgroupRoot>,
    /// Why there is no place for cgroups, or controllers are missing; for the log.
    pub(crate) cgroup_trouble: Option<String>,
    /// What children have of the worker's environment.
    pub(crate) inherited: Inherited,
    /// For the birth of children.
    pub(crate) reserve: Reserve,
    /// Users that children run as.
    pub(crate) accounts: Accounts,
    /// What is in the executables that a policy names by their content.
    pub(crate) hashes: Hashes,
    /// Name of the worker's own user; empty where its number has none.
    own: String,
    /// The least `nice` that the worker may give without a capability.
    nice_min: i32,
}

/// What the kernel lets this process do, one bit for each capability (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) bounding: u64,
}

impl Capabilities {
    fn has(set: u64, name: &str) -> bool {
        let number = CAPABILITIES.iter().position(|known| *known == name);
        number.is_some_and(|number| set >> number & 1 == 1)
    }

    /// Whether an action that needs this one is allowed now.
    pub(crate) fn effective(self, name: &str) -> bool {
        Capabilities::has(self.effective, name)
    }

    /// Whether a child can be given it as an ambient one: what is permitted can be made
    /// inheritable, as far as the bounding set goes, and what is both can be made ambient.
    pub(crate) fn can_be_given(self, capability: Capability) -> bool {
        (self.permitted & self.bounding) >> capability.number() & 1 == 1
    }

    fn read(status: &str) -> Capabilities {
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
        };
        Capabilities {
            effective: set("CapEff:"),
            permitted: set("CapPrm:"),
            bounding: set("CapBnd:"),
        }
    }
}

impl Machine {
    /// Looks around, and makes the place for the cgroups of children. `home` is the worker's state
    /// directory: of several workers of one name on one machine, each has its own.
    pub(crate) fn find(
        settings: &Settings,
        fleet: &FleetName,
        worker: &WorkerName,
        home: &Path,
    ) -> Machine {
        let (cgroups, cgroup_trouble) = cgroup::place(&settings.cgroup, fleet, worker, home);
        Machine { cgroups, cgroup_trouble, ..Machine::without_cgroups() }
    }

    /// The same, with the place that another version of the worker has made.
    pub(crate) fn with_cgroups(cgroups: Option<CgroupRoot>) -> Machine {
        Machine { cgroups, ..Machine::without_cgroups() }
    }

    /// The same for children that get no cgroups.
    pub(crate) fn without_cgroups() -> Machine {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        // A kernel whose /proc cannot be read gives nothing away, and nothing is promised.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // Its value 1 to 40 stands for nice 19 to -20 (getrlimit(2)).
        let nice = getrlimit(Resource::RLIMIT_NICE).map_or(0, |(soft, _)| soft.min(40));
        Machine {
            host: host.to_string_lossy().into_owned(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            capabilities: Capabilities::read(&status),
            cgroups: None,
            cgroup_trouble: None,
            inherited: Inherited::find(),
            reserve: Reserve::new(),
            accounts: Accounts::default(),
            hashes: Hashes::default(),
            own: own.map(|user| user.name).unwrap_or_default(),
            nice_min: 20 - i32::try_from(nice).unwrap_or(0),
        }
    }

    /// One without any right, for tests.
    #[cfg(test)]
    pub(crate) fn powerless(uid: u32) -> Machine {
        Machine { uid, gid: uid, nice_min: 20, ..Machine::default() }
    }

    /// The worker's own user: its name, or its number where it has none.
    pub(crate) fn user(&self) -> String {
        if self.own.is_empty() { self.uid.to_string() } else { self.own.clone() }
    }

    /// Whether a user, as a declaration says it, is the worker's own.
    pub(crate) fn is_own(&self, text: &str) -> bool {
        let found = self.accounts.find(text);
        found.is_ok_and(|found| (found.uid, found.gid) == (self.uid, self.gid))
    }

    /// What schedulers are told of what is allowed here; nothing, where everything is.
    pub(crate) fn policy_facts(&self, policy: &Policy) -> Option<PolicyFacts> {
        let all = self.switches_users() && policy.is_open();
        let rights = format!("{:?}", self.capabilities);
        (!all).then(|| policy.facts(&self.user(), &rights))
    }

    /// Whether children can run as somebody else.
    pub(crate) fn switches_users(&self) -> bool {
        self.capabilities.effective("SETUID") && self.capabilities.effective("SETGID")
    }
}

/// What a worker on this machine can do for a child, in the words of `ProgramSpec::needs`.
pub(crate) fn facilities(machine: &Machine, settings: &Settings) -> Vec<Facility> {
    let of = machine.capabilities;
    let cgroups = machine.cgroups.as_ref();
    let has = |controller: fn(&CgroupRoot) -> bool| cgroups.is_some_and(controller);
    // Half of the range is promised only when all of it can be given.
    let nice = of.effective("SYS_NICE") || machine.nice_min <= -20;
    let fixed = [
        (USER, machine.switches_users()),
        ("limits.memory", has(|root| root.memory)),
        ("limits.cpu", has(|root| root.cpu)),
        ("limits.pids", has(|root| root.pids)),
        ("negative nice", nice),
        ("negative oom_score_adj", of.effective("SYS_RESOURCE")),
        (CGROUP, cgroups.is_some()),
        (EVENT_LISTENERS, settings.bridge.is_some()),
        (ENVIRONMENT_FILE, true),
        (ENVIRONMENT_SECRET, true),
    ];
    let fixed = fixed.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned());
    let given = (0..u8::MAX)
        .map_while(Capability::from_number)
        .filter(|capability| of.can_be_given(*capability))
        .map(|capability| format!("capability {capability}"));
    fixed.chain(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bridge;

    #[test]
    fn sets_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t00000000000004c0\n\
                      CapEff:\t00000000000000c0\nCapBnd:\t000001fffeffffff\n";
        let read = Capabilities::read(status);
        assert!(read.effective("SETUID") && read.effective("SETGID"));
        assert!(!read.effective("NET_BIND_SERVICE") && !read.effective("SYS_RESOURCE"));
        assert!(read.can_be_given("NET_BIND_SERVICE".parse().unwrap()));
        assert_eq!(Capabilities::read("nothing"), Capabilities::default());
    }

    #[test]
    fn a_worker_without_rights_promises_nothing() {
        let poor = Machine { nice_min: 20, ..Machine::default() };
        let without = Settings::default();
        let always = [ENVIRONMENT_FILE, ENVIRONMENT_SECRET];
        assert_eq!(facilities(&poor, &without), always);
        let bridge = Bridge { command: Vec::new(), environment: Vec::new() };
        let with = Settings { bridge: Some(bridge), ..Settings::default() };
        assert_eq!(facilities(&poor, &with), [&[EVENT_LISTENERS], &always[..]].concat());
        let some = Machine {
            capabilities: Capabilities { effective: 0, permitted: 0x400, bounding: 0x400 },
            ..poor
        };
        let given = [&always[..], &["capability NET_BIND_SERVICE"]].concat();
        assert_eq!(facilities(&some, &without), given);
        let nice = Machine { nice_min: -20, ..Machine::default() };
        assert_eq!(facilities(&nice, &without), [&["negative nice"], &always[..]].concat());
    }

    #[test]
    fn this_machine_is_seen_as_it_is() {
        let settings = Settings { cgroup: crate::CgroupChoice::None, ..Settings::default() };
        let (fleet, worker) = ("f".parse().unwrap(), "w".parse().unwrap());
        let machine = Machine::find(&settings, &fleet, &worker, Path::new("/x"));
        assert_eq!(machine.cgroup_trouble, None);
        assert!(!machine.host.is_empty());
        let found = facilities(&machine, &settings);
        assert_eq!(found.iter().any(|name| name == "user"), machine.uid == 0);
        assert!(!found.iter().any(|name| name == CGROUP));
    }
}
