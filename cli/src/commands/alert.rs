//! `dsbus alert FILE`

mod letters;
mod test;

use std::path::{Path, PathBuf};

use dsbus_alert::spec::Spec;
use dsbus_schema::alert::AlertName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::{Alert, AlertVerb};
use crate::config::{Config, Surroundings};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::alert::{self, AlertFile};
use crate::{connection, output, role};

/// What can be done about daemons in the background, of which this is none.
const ACTS: [&str; 5] = ["start", "stop", "restart", "status", "reload"];

/// Runs alerts, or one of the verbs about them.
///
/// # Errors
/// The verb's own.
pub(super) fn run(config: &Config, args: Alert) -> Result<Code, Failure> {
    match (args.verb, args.file) {
        (Some(AlertVerb::Check { file }), _) => check(config, &file),
        (Some(AlertVerb::Test(args)), _) => connection::run(test::run(config, &args)),
        (Some(AlertVerb::Letters(args)), _) => connection::run(letters::run(config, &args)),
        (None, Some(file)) => {
            let instead = "it runs in the foreground until SIGTERM; on HUP it reads its file again";
            no_act(&file, &config.around, ("alert", &ACTS), instead)?;
            serve(config, file, args.name)
        }
        (None, None) => Err(Failure::usage("which file?").hint("dsbus alert FILE")),
    }
}

/// Whether a file is meant, and not something that can be done about other daemons.
///
/// # Errors
/// When it is called so, and is not there.
pub(super) fn no_act(
    file: &Path,
    around: &Surroundings,
    (what, acts): (&str, &[&str]),
    instead: &str,
) -> Result<(), Failure> {
    let act = file.to_str().filter(|word| acts.contains(word));
    match act.filter(|_| !around.directory.join(file).exists()) {
        None => Ok(()),
        Some(act) => {
            Err(Failure::usage(format!("{what} has no {act}, and there is no such file"))
                .hint(instead))
        }
    }
}

fn read(file: &Path, around: &Surroundings, so: &str) -> Result<AlertFile, Failure> {
    alert::read(file, around).map_err(|found| {
        output::diagnostics(&found, so);
        Failure::told(Code::Usage)
    })
}

/// Tells what is wrong with a file, or that nothing is.
fn check(config: &Config, path: &Path) -> Result<Code, Failure> {
    let file = read(path, &config.around, "this file cannot be used")?;
    for target in &file.unused {
        output::warning(format_args!("no rule sends to target.{target}"));
    }
    let (rules, targets) = (file.spec.rules.len(), file.spec.targets.len());
    let several = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    output::line(format_args!(
        "{} has no mistake: {}, {}.",
        path.display(),
        several(rules, "rule"),
        several(targets, "target")
    ))?;
    Ok(Code::Done)
}

fn serve(config: &Config, path: PathBuf, name: AlertName) -> Result<Code, Failure> {
    role::must_be(config, &["alert"], "alert")?;
    let file = read(&path, &config.around, "alerts were not started")?;
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (change, changes) = mpsc::channel(1);
        let connect = config.connect(&format!("dsbus alert {name}"), true);
        let hangup = signal(SignalKind::hangup())?;
        let reading = read_again(hangup, path, config.around.clone(), change);
        let shutdown = stop()?;
        let config = dsbus_alert::Config { connect, name, host, spec: file.spec, changes };
        tokio::select! {
            ended = dsbus_alert::run(config, shutdown) => ended
                .map(|()| Code::Done)
                .map_err(|e| Failure::failed(format!("alerts end: {e}"))),
            () = reading => Ok(Code::Done),
        }
    })
}

/// Until SIGTERM or SIGINT.
pub(super) fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Reads the file again at each SIGHUP; one with mistakes changes nothing.
async fn read_again(
    mut hangup: tokio::signal::unix::Signal,
    path: PathBuf,
    around: Surroundings,
    changed: mpsc::Sender<Spec>,
) {
    while hangup.recv().await.is_some() {
        match alert::read(&path, &around) {
            Ok(file) => drop(changed.send(file.spec).await),
            Err(found) => {
                for diagnostic in &found {
                    tracing::error!("{}", diagnostic.one_line());
                }
                tracing::error!("the rules stay as they are");
            }
        }
    }
    // There are no signals any more; the daemon goes on without.
    std::future::pending::<()>().await;
}
