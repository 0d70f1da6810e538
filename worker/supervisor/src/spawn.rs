//! Starting processes. What runs between a process's birth and exec cannot be checked by the
//! compiler; it is in [`inside`] and [`launch`], and all that it needs is made here before.

#![expect(unsafe_code, reason = "clone, exec and wait4; each use says why it is sound")]

mod agent;
mod env_file;
mod environment;
mod event_listener;
mod executable;
mod failure;
mod inside;
mod launch;
mod limits;
mod plan;
mod reap;
mod refused;
mod reserve;
mod secret_file;
#[cfg(test)]
pub(crate) mod tests;

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{Epoch, FleetName, Incarnation, InstanceId, ProgramId, WorkerName};
use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{ExtraFile, FileMode, ProgramSpec};

use crate::cgroup::Cgroup;
use crate::config::Settings;
use crate::facilities::Machine;
use crate::files::open_trusted;
use crate::policy;
use crate::secrets::Secrets;
use crate::sockets::Sockets;
use crate::stdin::{self, Stdin};
use crate::users::Account;
use environment::{Environment, environment};
use failure::About;
use plan::{Plan, Switch, Words};

pub use agent::AGENT_FD;
pub(crate) use agent::agent;
pub(crate) use environment::{Inherited, variables};
pub(crate) use inside::reset_signals;
pub(crate) use limits::hard_limit;
pub(crate) use reap::{Reaped, reap};
pub(crate) use refused::refused;
pub(crate) use reserve::Reserve;

/// Whose process it is, and what its worker knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) name: &'a InstanceId,
    /// Identity of the program.
    pub(crate) id: ProgramId,
    pub(crate) epoch: Epoch,
    pub(crate) worker: &'a WorkerName,
    pub(crate) fleet: &'a FleetName,
    /// Directory of the instance.
    pub(crate) home: &'a Path,
    pub(crate) settings: &'a Settings,
    pub(crate) machine: &'a Machine,
    pub(crate) secrets: &'a Secrets,
    /// What the child finds as `NOTIFY_SOCKET`.
    pub(crate) notify: Option<&'a str>,
    pub(crate) incarnation: Incarnation,
    /// Number of this start, unique in this incarnation: what descends from the process is
    /// recognised by it, so hooks and questions have numbers of their own.
    pub(crate) number: u64,
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    /// `None` when it is /dev/null or a socket.
    pub(crate) stdin: Option<Stdin>,
    pub(crate) stdout: PipeReader,
    /// `None` when it goes where standard output goes.
    pub(crate) stderr: Option<PipeReader>,
    /// The file that was executed; of an event listener the one that its bridge executes.
    pub(crate) executable: PathBuf,
    /// That file has a set-user-ID or set-group-ID bit: the kernel takes the parent-death signal
    /// from such a process, so it outlives a supervisor that is killed until its agent kills it, or
    /// the next worker sweeps it. A cgroup kill reaches it; nothing prevents it.
    pub(crate) setid: bool,
}

/// A hook or an exec probe that was started.
#[derive(Debug)]
pub(crate) struct HelperProcess {
    pub(crate) pid: i32,
    /// All that it says.
    pub(crate) output: PipeReader,
}

/// Marks every inherited descriptor so that no child gets it.
pub(crate) fn keep_descriptors_private() {
    // SAFETY: the call only sets flags on descriptors, and CLOEXEC changes nothing for this
    // process. It fails on kernels before 5.11, where children inherit as they always did.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Makes orphans of this process's descendants its own children, so that they can be reaped.
pub(crate) fn adopt_orphans() {
    // SAFETY: a prctl that sets one attribute of this process and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Starts the child of an instance, whose sockets are acquired.
///
/// # Errors
/// Why it could not be started, for people.
pub(crate) fn child(
    spec: &ProgramSpec,
    who: &Who<'_>,
    known: &Variables,
    sockets: &Sockets,
    cgroup: Option<&Cgroup>,
) -> Result<Spawned, String> {
    let argv = spec.argv().map_err(|why| format!("command {why}"))?;
    let mut draft = Draft::new(spec, who, known, &argv)?;
    let bridged = draft.bridge()?;
    let (stdout, out) = pipe()?;
    let (stderr, err) = if spec.redirect_stderr { None } else { Some(pipe()?) }.unzip();
    let (input, stdin) = if spec.stdin { Some(stdin::pipe()?) } else { None }.unzip();
    let (null, files) = (who.machine.reserve.null()?, draft.extra_files()?);
    let passed = sockets.passed(who.name);
    let names: Vec<&str> = passed.iter().map(|one| one.name.as_str()).collect();
    let given = sockets.stdin(who.name).or(input.as_ref().map(AsFd::as_fd)).unwrap_or(null);
    let err = err.as_ref().unwrap_or(&out);
    let mut sources = standard(given, &out, err);
    sources.extend(passed.iter().map(|one| (one.socket, format!("listen {}", one.name))));
    sources.extend(files.iter().map(|(file, path)| (file.as_fd(), format!("extra file {path}"))));
    let mut variables = Vec::new();
    if !names.is_empty() {
        variables.push(("LISTEN_FDS", names.len().to_string()));
        variables.push(("LISTEN_FDNAMES", names.join(":")));
    }
    variables.extend(who.notify.map(|socket| ("NOTIFY_SOCKET", socket.to_owned())));
    let mut pids = Vec::new();
    pids.extend((!names.is_empty()).then_some("LISTEN_PID"));
    if let Some(span) = spec.watchdog {
        variables.push(("WATCHDOG_USEC", span.0.as_micros().to_string()));
        pids.push("WATCHDOG_PID");
    }
    let (pid, executable) = draft.start(&sources, &variables, &pids, cgroup)?;
    let path = bridged.unwrap_or(executable.path);
    Ok(Spawned { pid, stdin, stdout, stderr, executable: path, setid: executable.setid })
}

/// Starts a command beside a child: as the same user, in the same directory and environment, with
/// the same limits.
///
/// # Errors
/// Why it could not be started, for people.
pub(crate) fn helper(
    argv: &[String],
    spec: &ProgramSpec,
    who: &Who<'_>,
    known: &Variables,
    cgroup: Option<&Cgroup>,
    extra_environment: &[(&str, String)],
) -> Result<HelperProcess, String> {
    let draft = Draft::new(spec, who, known, argv)?;
    let (output, out) = pipe()?;
    let sources = standard(who.machine.reserve.null()?, &out, &out);
    let (pid, _) = draft.start(&sources, extra_environment, &[], cgroup)?;
    Ok(HelperProcess { pid, output })
}

/// A descriptor for a child, and what it is for.
type Source<'a> = (BorrowedFd<'a>, String);

fn standard<'a>(
    stdin: BorrowedFd<'a>,
    out: &'a PipeWriter,
    err: &'a PipeWriter,
) -> Vec<Source<'a>> {
    vec![
        (stdin, "standard input".to_owned()),
        (out.as_fd(), "standard output".to_owned()),
        (err.as_fd(), "standard error".to_owned()),
    ]
}

fn pipe() -> Result<(PipeReader, PipeWriter), String> {
    io::pipe().map_err(|e| format!("no pipe for its output: {e}"))
}

/// A process that is being prepared.
struct Draft<'a> {
    spec: &'a ProgramSpec,
    who: &'a Who<'a>,
    known: &'a Variables,
    account: Option<Account>,
    environment: Environment,
    argv: Vec<String>,
    directory: PathBuf,
    /// The command is a bridge's.
    bridged: bool,
}

impl<'a> Draft<'a> {
    fn new(
        spec: &'a ProgramSpec,
        who: &'a Who<'a>,
        known: &'a Variables,
        argv: &[String],
    ) -> Result<Draft<'a>, String> {
        let words = argv.iter().map(|word| expand(word, known));
        let argv = words.collect::<Result<Vec<_>, _>>().map_err(|why| format!("command: {why}"))?;
        let account = spec.user.as_deref();
        let account = account.map(|user| who.machine.accounts.find(user)).transpose()?;
        let environment = environment(spec, who, known, account.as_ref())?;
        let directory = match &spec.directory {
            Some(text) => expand(text, known).map_err(|why| format!("directory: {why}"))?.into(),
            None => who.home.to_owned(),
        };
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        Ok(Draft { spec, who, known, account, environment, argv, directory, bridged: false })
    }

    /// Puts the bridge before an event listener; gives the file of the listener itself.
    fn bridge(&mut self) -> Result<Option<PathBuf>, String> {
        let Some(listener) = &self.spec.eventlistener else { return Ok(None) };
        let executable = self.allowed()?;
        if executable.held.is_some() {
            return Err(
                "an event listener cannot be held to a sha256: its bridge executes it".to_owned()
            );
        }
        let argv = std::mem::take(&mut self.argv);
        self.argv = event_listener::bridge(self.spec, listener, self.who, argv)?;
        for (name, value) in self.who.settings.bridge.iter().flat_map(|one| &one.environment) {
            self.environment.set(name, value.as_ref());
        }
        self.bridged = true;
        Ok(Some(executable.path))
    }

    fn executable(&self) -> Result<executable::Executable, String> {
        let word = self.argv.first().ok_or("command is missing: say what to run")?;
        let path = self.environment.get("PATH");
        executable::find(word, path, &self.directory)
    }

    /// The same, if the owner of the machine allows it.
    fn allowed(&self) -> Result<executable::Executable, String> {
        let found = self.executable()?;
        let Who { settings, machine, .. } = self.who;
        let held = policy::executable(&settings.policy, &machine.hashes, "command", &found.path);
        let held = held.map_err(|violation| violation.to_string())?;
        Ok(executable::Executable { held, ..found })
    }

    fn start(
        mut self,
        sources: &[Source<'_>],
        variables: &[(&str, String)],
        pids: &[&str],
        cgroup: Option<&Cgroup>,
    ) -> Result<(i32, executable::Executable), String> {
        for (name, value) in variables {
            self.environment.set(name, value.as_ref());
        }
        for name in pids {
            self.environment.remove(name);
        }
        // The bridge of an event listener is the worker's own; the listener was looked at.
        let executable = if self.bridged { self.executable()? } else { self.allowed()? };
        // Behind the three that every process has come those of `listen`, from 3 on as
        // sd_listen_fds(3) wants it, and then other files.
        let (mut sources, mut descriptors): (Vec<_>, Vec<_>) = sources.iter().cloned().unzip();
        let mut plan = self.plan(&executable.path, pids)?;
        if let Some(file) = &executable.held {
            // Closed when it is executed: no child gets it.
            plan.held = i32::try_from(sources.len()).ok();
            sources.push(file.as_fd());
            descriptors.push("the executable".to_owned());
        }
        let cgroup = cgroup.map(Cgroup::directory);
        let given = launch::Given { plan: &plan, sources: &sources, cgroup };
        let launched = launch::launch(given, &self.who.machine.reserve);
        let about = About {
            spec: self.spec,
            plan: &plan,
            executable: &executable.path,
            directory: &self.directory,
            descriptors: &descriptors,
        };
        let pid = launched.map_err(|failure| about.explain(failure))?;
        Ok((pid, executable))
    }

    fn plan(&self, path: &Path, pids: &[&str]) -> Result<Plan, String> {
        let text = |what: &str, bytes: &[u8]| {
            CString::new(bytes).map_err(|_| format!("{what} holds a NUL byte"))
        };
        // Exec would take the rest of such a value for nothing.
        let cut = |text: &OsStr| text.as_bytes().contains(&0);
        if let Some((name, _)) = self.environment.iter().find(|(k, v)| cut(k) || cut(v)) {
            return Err(format!("environment {} holds a NUL byte", name.display()));
        }
        let (spec, settings) = (self.spec, self.who.settings);
        let oom_score_adj = spec.oom_score_adj.map(|wanted| wanted.to_string());
        Ok(Plan {
            path: text("command", path.as_os_str().as_bytes())?,
            held: None,
            argv: Words::of(&self.argv),
            environment: Words::environment(&self.environment, pids),
            directory: text("directory", self.directory.as_os_str().as_bytes())?,
            umask: spec.umask.or(settings.umask).map(|mode| mode.0),
            oom_score_adj: oom_score_adj
                .map(|t| text("oom_score_adj", t.as_bytes()))
                .transpose()?,
            nice: spec.nice,
            rlimits: limits::of(spec, settings)?,
            switch: self.account.as_ref().and_then(|account| self.switch(account)),
            capabilities: spec.capabilities.iter().map(|capability| capability.number()).collect(),
            parent: nix::unistd::getpid().as_raw(),
        })
    }

    /// A worker that may not become anybody still runs children as who it is.
    fn switch(&self, account: &Account) -> Option<Switch> {
        let machine = self.who.machine;
        let same = (account.uid, account.gid) == (machine.uid, machine.gid);
        let needed = !same || machine.switches_users();
        let Account { uid, gid, ref groups, .. } = *account;
        needed.then(|| Switch { uid, gid, groups: groups.clone() })
    }

    /// Opened by the worker, with its rights.
    fn extra_files(&self) -> Result<Vec<(File, String)>, String> {
        let open = |file: &ExtraFile| {
            let path = expand(&file.path, self.known)?;
            let opened = open(Path::new(&path), file.mode).map_err(|e| match e.raw_os_error() {
                Some(libc::ENXIO) => "is a pipe that nobody reads, or no device".to_owned(),
                _ => e.to_string(),
            });
            Ok::<_, String>((opened.map_err(|why| format!("{path}: {why}"))?, path))
        };
        let files = self.spec.extra_files.iter().map(open).collect::<Result<_, _>>();
        files.map_err(|why| format!("extra_files: {why}"))
    }
}

/// Opens a file for a child, by no link of a stranger's: the child's user could else have the worker
/// open any file of the machine for it. Neither a pipe without another end nor a terminal may hold
/// this process up; the child finds the file without `O_NONBLOCK`.
fn open(path: &Path, mode: FileMode) -> io::Result<File> {
    let mut options = File::options();
    match mode {
        FileMode::Read => options.read(true),
        FileMode::Write => options.write(true).create(true).truncate(true),
        FileMode::Append => options.append(true).create(true),
        FileMode::ReadWrite => options.read(true).write(true).create(true),
    };
    let file = open_trusted(path, &options)?;
    let flags = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETFL)?;
    let blocking = nix::fcntl::OFlag::from_bits_retain(flags & !libc::O_NONBLOCK);
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(blocking))?;
    Ok(file)
}
