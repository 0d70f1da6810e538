//! Looking at the machine. What cannot be read is 0 or empty.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use dsbus_schema::worker::Disk;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::stat::stat;
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo};

/// Where os-release(5) is, the first one that is there counts.
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What does not change while the machine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) kernel: String,
    pub(crate) arch: String,
    pub(crate) os: String,
}

impl Fixed {
    pub(crate) fn look() -> Fixed {
        let system = uname().ok();
        let word = |word: Option<&std::ffi::OsStr>| {
            word.map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let release = OS_RELEASE.iter().find_map(|path| fs::read_to_string(path).ok());
        Fixed {
            kernel: word(system.as_ref().map(nix::sys::utsname::UtsName::release)),
            arch: word(system.as_ref().map(nix::sys::utsname::UtsName::machine)),
            os: release.and_then(|text| pretty_name(&text)).unwrap_or_default(),
        }
    }
}

/// The values of os-release(5) are quoted as in a shell.
fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    shell_words::split(value).ok()?.into_iter().next()
}

/// What changes from second to second, and is read without waiting for anything.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Busy {
    /// Since the machine was started, over all processors, in ticks.
    pub(crate) ticks: Ticks,
    pub(crate) cores: u32,
    pub(crate) load: [f64; 3],
    pub(crate) memory_total: u64,
    pub(crate) memory_available: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_free: u64,
}

/// Processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) idle: u64,
    pub(crate) all: u64,
}

impl Busy {
    pub(crate) fn look() -> Busy {
        let mut busy = Busy::default();
        if let Ok(stats) = KernelStats::current() {
            let of = &stats.total;
            let idle = of.idle + of.iowait.unwrap_or(0);
            // Guests are counted as user time already (proc(5)).
            let worked =
                [Some(of.user), Some(of.nice), Some(of.system), of.irq, of.softirq, of.steal];
            let worked: u64 = worked.into_iter().flatten().sum();
            busy.ticks = Ticks { idle, all: idle + worked };
            busy.cores = u32::try_from(stats.cpu_time.len()).unwrap_or(0);
        }
        if let Ok(load) = LoadAverage::current() {
            busy.load = [load.one, load.five, load.fifteen].map(f64::from);
        }
        if let Ok(memory) = Meminfo::current() {
            busy.memory_total = memory.mem_total;
            busy.memory_available = memory.mem_available.unwrap_or(memory.mem_free);
            (busy.swap_total, busy.swap_free) = (memory.swap_total, memory.swap_free);
        }
        busy
    }
}

/// What changes seldom, and may take time: a file system that does not answer keeps whoever asks
/// waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) disks: Vec<Disk>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Slow {
    pub(crate) fn look(directory: &str) -> Slow {
        Slow { disks: disks(directory), addresses: addresses() }
    }
}

/// The file system of the state directory, and that of `/` if it is another one.
fn disks(directory: &str) -> Vec<Disk> {
    let device = |path: &Path| stat(path).ok().map(|found| found.st_dev);
    let root = Path::new("/");
    let same = device(root) == device(Path::new(directory));
    let paths = [directory, "/"].into_iter().take(if same { 1 } else { 2 });
    paths.filter_map(disk).collect()
}

fn disk(path: &str) -> Option<Disk> {
    let found = statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Some(Disk {
        path: path.to_owned(),
        total: bytes(found.blocks()),
        available: bytes(found.blocks_available()),
    })
}

/// Addresses by which others may reach this machine, IPv4 first.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let found = interfaces.filter_map(|interface| {
        let of = interface.flags;
        let is = of.contains(InterfaceFlags::IFF_UP) && !of.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = interface.address.filter(|_| is)?;
        let v4 = address.as_sockaddr_in().map(|found| IpAddr::from(found.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|found| IpAddr::from(found.ip())))
    });
    let found: BTreeSet<IpAddr> = found.filter(|address| !link_local(address)).collect();
    found.into_iter().collect()
}

/// Means something only together with an interface of the machine that asks.
fn link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_distribution_is_quoted_as_in_a_shell() {
        for (text, name) in [
            (
                "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
                "Debian GNU/Linux 13 (trixie)",
            ),
            ("PRETTY_NAME='Void'\n", "Void"),
            ("PRETTY_NAME=Plain\n", "Plain"),
        ] {
            assert_eq!(pretty_name(text).as_deref(), Some(name));
        }
        assert_eq!(pretty_name("NAME=x\n"), None);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let busy = Busy::look();
        assert!(busy.cores > 0 && busy.ticks.all >= busy.ticks.idle, "{busy:?}");
        assert!(busy.memory_available <= busy.memory_total && busy.memory_total > 0, "{busy:?}");
        let directory = tempfile::tempdir().unwrap();
        let slow = Slow::look(directory.path().to_str().unwrap());
        assert!(slow.disks.iter().all(|disk| disk.available <= disk.total), "{slow:?}");
        assert_eq!(slow.disks.first().map(|d| d.path.as_str()), directory.path().to_str());
        assert!(!slow.addresses.iter().any(IpAddr::is_loopback), "{slow:?}");
        let fixed = Fixed::look();
        assert!(!fixed.kernel.is_empty() && !fixed.arch.is_empty(), "{fixed:?}");
    }

    #[test]
    fn a_file_system_is_told_once() {
        assert_eq!(disks("/").len(), 1);
        assert_eq!(disks("/proc").len(), 2);
        assert_eq!(disks("/no/such/directory").len(), 1, "only that of /");
    }
}
