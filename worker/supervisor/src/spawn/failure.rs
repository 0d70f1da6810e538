//! Why a process could not be started, in sentences for people.

use std::fmt;
use std::io;
use std::path::Path;

use dsbus_schema::program::{ProgramSpec, RLIMITS, Rlimit};

use super::executable;
use super::limits::own_limit;
use super::plan::{Failure, Plan, Step};

/// What a failure is told with.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) spec: &'a ProgramSpec,
    pub(super) plan: &'a Plan,
    pub(super) executable: &'a Path,
    pub(super) directory: &'a Path,
    /// What each descriptor is for.
    pub(super) descriptors: &'a [String],
}

/// The number of a limit of setrlimit(2).
pub(super) fn resource(name: &str) -> Option<u32> {
    let number = match name {
        "as" => libc::RLIMIT_AS,
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    };
    Some(number)
}

impl About<'_> {
    pub(super) fn explain(&self, failure: Failure) -> String {
        let error = Reason(failure.errno);
        let user = self
            .spec
            .user
            .as_deref()
            .map_or_else(|| "the worker's user".to_owned(), |user| format!("user {user}"));
        match failure.step {
            Step::Start if failure.errno == libc::EAGAIN => {
                "the machine, the worker's user or its cgroup may have no more processes (fork: EAGAIN)".to_owned()
            }
            Step::Copies => format!("too many open files: {error}"),
            Step::Start => format!("no new process: {error}"),
            // It is done in another way then, and not told.
            Step::Table => format!("no descriptors of its own: {error}"),
            Step::Session => format!("no session of its own: {error}"),
            Step::Cgroup => format!("it cannot enter its cgroup: {error}"),
            Step::Descriptor(index) => {
                let what = self.descriptors.get(index).map_or("a descriptor", String::as_str);
                format!("{what} cannot be handed over: {error}")
            }
            Step::OomScoreAdj => {
                let wanted = self.spec.oom_score_adj.unwrap_or(0);
                format!("oom_score_adj {wanted} is refused: {error}{}", needs("SYS_RESOURCE", failure))
            }
            Step::Nice => {
                let wanted = self.spec.nice.unwrap_or(0);
                format!("nice {wanted} is refused: {error}{}", needs("SYS_NICE", failure))
            }
            Step::Rlimit(index) => self.rlimit(index, failure),
            Step::User => format!("it cannot run as {user}: {error}{}", needs("SETUID and CAP_SETGID", failure)),
            Step::Capability(index) => {
                let wanted = self.spec.capabilities.get(index);
                let name = wanted.map_or("", |capability| capability.name());
                format!("capability {name} is refused: {error}; the worker cannot give what it does not have")
            }
            Step::Directory => self.directory(failure, &user),
            Step::Parent => "the worker died meanwhile".to_owned(),
            Step::Signals => format!("its signals cannot be reset: {error}"),
            Step::Exec => executable::explain(self.executable, failure.errno, &user),
        }
    }

    fn directory(&self, failure: Failure, user: &str) -> String {
        let shown = self.directory.display();
        match failure.errno {
            libc::ENOENT => format!("directory {shown} does not exist"),
            libc::ENOTDIR => format!("directory {shown} is no directory"),
            libc::EACCES => format!("directory {shown} may not be entered by {user}"),
            other => format!("directory {shown}: {}", Reason(other)),
        }
    }

    fn rlimit(&self, index: usize, failure: Failure) -> String {
        let Some((number, wanted)) = self.plan.rlimits.get(index) else {
            return format!("a limit is refused: {}", Reason(failure.errno));
        };
        let name = RLIMITS.iter().find(|name| resource(name) == Some(*number)).unwrap_or(&"");
        // The new process had inherited it.
        let (wanted, now) = (shown(*wanted), shown(own_limit(*number)));
        match failure.errno {
            libc::EPERM => format!(
                "rlimits.{name} {wanted} is refused: the worker's own limit is {now}, and raising the hard one needs \
                 CAP_SYS_RESOURCE (or, for nofile, fs.nr_open)"
            ),
            other => format!("rlimits.{name} {wanted} is refused: {}", Reason(other)),
        }
    }
}

fn shown(limit: libc::rlimit) -> Rlimit {
    let one = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Rlimit { soft: one(limit.rlim_cur), hard: one(limit.rlim_max) }
}

fn needs(capability: &str, failure: Failure) -> String {
    match failure.errno {
        libc::EPERM | libc::EACCES => format!("; the worker needs CAP_{capability} for that"),
        _ => String::new(),
    }
}

/// An error of the kernel in words.
struct Reason(i32);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&io::Error::from_raw_os_error(self.0), f)
    }
}
