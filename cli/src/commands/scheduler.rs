//! `dsbus scheduler`

use std::path::PathBuf;

use dsbus_schema::ids::UserName;
use tokio::signal::unix::{SignalKind, signal};

use super::background::{Act, Daemon, begin, tell_starter};
use crate::args;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::role;
use crate::settings::Origin;

/// Runs a scheduler until it is told to stop, or does something about one in the background.
///
/// # Errors
/// When it cannot go on: the server is too old, or what is stored is not dsbus's.
pub(super) fn run(config: &Config, args: args::Daemon<args::Scheduler>) -> Result<Code, Failure> {
    match args.act {
        None => serve(config, args.options).inspect_err(tell_starter),
        Some(act) => {
            let (act, options) = Act::of(act);
            let id = options.id.as_ref().map(UserName::as_str);
            Daemon::new("scheduler", id, &options.own, config)?.act(act)
        }
    }
}

fn serve(config: &Config, args: args::Scheduler) -> Result<Code, Failure> {
    role::must_be(config, &["scheduler"], "scheduler")?;
    let _pidfile = begin(&args.own, "scheduler")?;
    let id = args.id.map_or_else(made_up, |id| id.to_string());
    let config = dsbus_scheduler::Config {
        connect: config.connect(&format!("dsbus scheduler {id}"), true),
        id,
        replicas: args.replicas.map(usize::from),
        signers: args.signers.or_else(|| beside(config, "signers")),
        grants: args.grants.or_else(|| beside(config, "grants.toml")),
    };
    for (what, file) in [("signers", &config.signers), ("grants", &config.grants)] {
        if let Some(file) = file {
            tracing::info!("{what}: {}", file.display());
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        dsbus_scheduler::run(config, shutdown)
            .await
            .map(|()| Code::Done)
            .map_err(|e| Failure::failed(format!("the scheduler ends: {e}")))
    })
}

/// What stands beside the file that says who this scheduler is, as `dsbus auth` puts it there.
fn beside(config: &Config, name: &str) -> Option<PathBuf> {
    let Origin::File(settings, _) = &config.origin else { return None };
    let path = settings.parent()?.join(name);
    // One that cannot be read is an error later, and not as if there were none.
    std::fs::symlink_metadata(&path).is_ok().then_some(path)
}

/// An id that no other scheduler has.
fn made_up() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let tail = &id[id.len() - 12..];
    UserName::parse(tail).map_or_else(|_| id.clone(), |name| name.to_string())
}
