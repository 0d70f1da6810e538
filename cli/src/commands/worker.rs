//! `dsbus worker`: the supervisor. It is one thread, and no runtime is around it: the agent that
//! it starts is the one that speaks on the bus.

mod background;
mod check;
mod choice;
mod limits;
mod owner;
mod secure;
mod take_over;
mod user;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dsbus_schema::program::Rlimit;
use dsbus_supervisor::{
    AgentCommand, Bridge, Handover, Itself, LOCK, LogFile, Rotation, WORKER_LOG,
    make_state_directory,
};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::User;

use super::background::{Act, Daemon, Whose, tell_starter};
use super::pidfile::PidFile;
use crate::args;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::worker::Keys;
use crate::{logging, output, role};
use background::Side;
use choice::Choice;
use owner::{Fixed, Standing};

/// What a worker keeps of its own log where no file is named: some days of an ordinary one.
const OWN_LOG: Rotation =
    Rotation { bytes_max: 1 << 20, backups: 1, compress: false, max_age: None };
/// It is nobody else's business.
const OWN_LOG_MODE: u32 = 0o640;

/// Runs a worker until it is told to stop.
///
/// # Errors
/// When it cannot start: its file has mistakes, its directory is in use, or cannot be written.
pub(super) fn run(
    config: &Config,
    args: args::Daemon<args::Worker, args::OfWorker>,
) -> Result<Code, Failure> {
    let (act, args) = match args.act {
        Some(act) => {
            let (act, options) = Act::of_worker(act);
            (Some(act), options)
        }
        None => (None, args.options),
    };
    if let Some(fd) = args.try_take_over {
        return take_over::try_out(config, &args, fd);
    }
    if let Some(fd) = args.take_over {
        return take_over::run(config, args, fd);
    }
    if let Some(act) = act.filter(|act| !act.starts()) {
        return look(config, &args, act);
    }
    let choice = Choice::make(&args, &config.around).map_err(|wrong| {
        wrong.told(match act {
            _ if args.check_config => "this file cannot be used",
            Some(Act::Restart(_)) => "the worker was not restarted",
            _ => "the worker was not started",
        })
    })?;
    if args.check_config {
        return check::run(config, &args, &choice);
    }
    role::must_be_worker(config, choice.worker.as_str())?;
    if !args.insecure {
        secure::check(config, choice.file.keys.signers_file.as_deref())?;
    }
    if let Some(act) = act {
        return background(config, &args, &choice).act(act);
    }
    if args.nodaemon || choice.file.keys.nodaemon {
        let ended = serve(config, args, choice, None);
        return ended.inspect_err(tell_starter);
    }
    let entered = background::enter(&choice.directory);
    let logfile = choice.file.keys.logfile.as_deref();
    let side = entered.map_err(|failure| match logfile {
        Some(path) => failure.or_hint(format!("see {}", path.display())),
        None => failure,
    })?;
    match side {
        Side::Terminal(code) => Ok(code),
        Side::Background(mut starter) => {
            let ended = serve(config, args, choice, None);
            if let Err(failure) = &ended {
                starter.tell(failure);
            }
            ended
        }
    }
}

/// Does something about a worker that was started before, for which its file need have no mistake.
fn look(config: &Config, args: &args::Worker, act: Act) -> Result<Code, Failure> {
    if args.check_config {
        return Err(Failure::usage("--check-config only checks a file: nothing was done")
            .hint("dsbus worker --check-config, with the same options"));
    }
    let (choice, mistakes) = Choice::place(args, &config.around)
        .map_err(|wrong| wrong.told("where the worker is cannot be told without it: say --dir"))?;
    for mistake in mistakes {
        output::warning(mistake.one_line());
    }
    background(config, args, &choice).act(act)
}

/// This worker in the background. The file with its process id is the lock of its directory.
fn background(config: &Config, args: &args::Worker, choice: &Choice) -> Daemon {
    let log = choice.file.keys.logfile.clone();
    let name = Some(choice.worker.to_string());
    Daemon {
        what: "worker",
        whose: Whose { fleet: Some(config.fleet.clone()), name },
        labels: args.labels.clone(),
        pidfile: choice.directory.join(LOCK),
        log: log.unwrap_or_else(|| choice.directory.join(WORKER_LOG)),
        more: vec!["--nodaemon".into()],
    }
}

/// What a worker stands on.
struct Ground {
    nofile: Option<Rlimit>,
    core: Option<Rlimit>,
    account: Option<User>,
    log: Option<Arc<Mutex<LogFile>>>,
}

/// Becomes what the file says, step by step: what needs root first.
fn ground(choice: &Choice) -> Result<Ground, Failure> {
    let (keys, directory) = (&choice.file.keys, &choice.directory);
    let given = |key: &str| choice.file.lines.contains_key(key);
    let nofile = limits::files(keys.minfds, given("minfds"))?;
    limits::processes(keys.minprocs, given("minprocs"))?;
    let core = limits::no_core()?;
    if let Some(mode) = keys.umask {
        owner::set_umask(mode);
    }
    let account = match &keys.user {
        Some(name) => user::become_user(name, directory)?,
        None => None,
    };
    enter(keys)?;
    // Another worker that runs here has its own log there; this one will be refused.
    try_log(keys)?;
    let log = open_log(keys, directory, in_use(directory));
    Ok(Ground { nofile, core, account, log })
}

/// Enters the directory that the file names.
fn enter(keys: &Keys) -> Result<(), Failure> {
    let Some(directory) = &keys.directory else { return Ok(()) };
    let entered = std::env::set_current_dir(directory);
    entered.map_err(|e| Failure::failed(format!("failed to enter {}: {e}", directory.display())))
}

/// Runs a worker, in the place of another version where that is handed over.
fn serve(
    config: &Config,
    args: args::Worker,
    choice: Choice,
    handover: Option<Handover>,
) -> Result<Code, Failure> {
    let Ground { nofile, core, account, log } = match &handover {
        None => ground(&choice)?,
        Some(handover) => {
            let ground = take_over::ground(handover, &args, &choice);
            ground.map_err(take_over::give_back)?
        }
    };
    let Choice { worker, directory, file, .. } = choice;
    let keys = &file.keys;
    let named = keys.logfile.is_some();
    let filter = config.around.daemon_log(Some(keys.loglevel.filter()));
    let copy = (args.nodaemon || keys.nodaemon) && !(named && keys.silent);
    let (level, echo) = logging::worker(filter, log.clone(), copy, !named);
    let words: Vec<OsString> = std::env::args_os().collect();
    let itself = Itself::find(&words, &config.around.directory, handover.is_some());
    let binary = itself.path.clone();
    let pidfile = match &handover {
        None => {
            let pidfile = keys.pidfile.as_deref().map(|path| PidFile::write(path, "worker"));
            pidfile.transpose()?
        }
        Some(handover) => take_over::pidfile(handover).map_err(take_over::give_back)?,
    };
    if let Some(path) = &file.path {
        tracing::info!("configuration: {}", path.display());
    }
    let mut command: Vec<OsString> = vec![binary.clone().into()];
    command.extend(config.as_arguments());
    command.extend(["agent", "--fd", &dsbus_supervisor::AGENT_FD.to_string()].map(OsString::from));
    if let Some(path) = &keys.signers_file {
        command.extend([OsString::from("--signers"), path.into()]);
    }
    command.extend(["--log", keys.loglevel.filter()].map(OsString::from));
    let bridge = bridge(config, &binary);
    let locked = pidfile.as_ref().map(PidFile::left);
    let fixed = Fixed { binary, nofile, core, account, bridge, pidfile: locked };
    let given_back = args.given_back.clone();
    let settings = fixed.settings(&args, keys);
    let own = log.clone().filter(|_| named);
    let standing = Standing::new(&config.around, args, file, fixed, level, own);
    let ended = dsbus_supervisor::run(dsbus_supervisor::Config {
        worker,
        fleet: config.fleet.clone(),
        directory,
        agent: AgentCommand {
            argv: command,
            environment: config.as_environment(),
            is_itself: true,
        },
        settings,
        owner: Box::new(standing),
        log,
        echo,
        itself,
        handover,
        given_back,
    });
    if let Some(pidfile) = pidfile {
        pidfile.remove();
    }
    match ended {
        Ok(code) => Ok(Code::program(code)),
        Err(e) => {
            if named {
                tracing::error!("the worker ends: {e}");
            }
            Err(Failure::failed(format!("the worker ends: {e}")))
        }
    }
}

/// What runs event listeners: this binary, on the worker's own bus. The fleet it has from what every
/// child has.
fn bridge(config: &Config, binary: &Path) -> Option<Bridge> {
    let binary = binary.to_str()?;
    let command = [binary, "--as", config.user.as_str(), "listen"].map(str::to_owned).to_vec();
    Some(Bridge { command, environment: config.as_environment() })
}

/// Whether the log that is named can be written: that it cannot is told now, and not in the log.
fn try_log(keys: &Keys) -> Result<(), Failure> {
    let Some(path) = &keys.logfile else { return Ok(()) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).map_err(|e| {
        let who = keys.user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
        Failure::failed(format!("failed to open the logfile {}{who}: {e}", path.display()))
    })
}

/// Opens the worker's own log, which can be read over the bus: the file that is named, by a link in
/// the worker's directory, or else a small one there.
fn open_log(keys: &Keys, directory: &Path, taken: bool) -> Option<Arc<Mutex<LogFile>>> {
    let here = directory.join(WORKER_LOG);
    let Some(path) = &keys.logfile else {
        if taken {
            return None;
        }
        if here.is_symlink() {
            // Its target was named before, and is not any more.
            let _ = fs::remove_file(&here);
        }
        // What is wrong with the directory is told by whoever needs it.
        make_state_directory(directory).ok()?;
        let opened = OpenOptions::new().create(true).append(true).mode(OWN_LOG_MODE).open(&here);
        return opened.ok().map(|_| Arc::new(Mutex::new(LogFile::open(here, OWN_LOG))));
    };
    if !taken {
        link_log(path, &here);
    }
    Some(Arc::new(Mutex::new(LogFile::open(path.clone(), rotation(keys, path)))))
}

/// Whether a worker runs in this directory.
fn in_use(directory: &Path) -> bool {
    let Ok(lock) = fs::File::open(directory.join(LOCK)) else { return false };
    let locked = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    matches!(locked, Err((_, Errno::EWOULDBLOCK)))
}

/// Lets the log that is named be read over the bus. Best effort: the log itself is what matters.
fn link_log(path: &Path, here: &Path) {
    let Ok(target) = std::path::absolute(path) else { return };
    if target == here || fs::read_link(here).is_ok_and(|known| known == target) {
        return;
    }
    let _ = here.parent().map(make_state_directory);
    let _ = fs::remove_file(here);
    if let Err(e) = std::os::unix::fs::symlink(&target, here) {
        tracing::warn!("dsbus logs --daemon cannot show {}: {e}", target.display());
    }
}

/// When the worker's own log is rotated. What is no plain file, such as `/dev/stdout`, never is.
fn rotation(keys: &Keys, path: &Path) -> Rotation {
    let bytes_max = if path.is_file() { keys.logfile_maxbytes.0 } else { 0 };
    Rotation { bytes_max, backups: keys.logfile_backups, ..Rotation::default() }
}
