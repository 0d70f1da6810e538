//! `dsbus gateway [FILE]`

use std::path::Path;

use dsbus_client::read_limited_text;
use dsbus_gateway::users::Settings;
use dsbus_gateway::{Error, Listen};

use super::alert::{no_act, stop};
use super::background::{self, Act, begin, tell_starter};
use crate::args::{Daemon, Gateway};
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::{TEXT_BYTES_MAX, text_of};
use crate::role;

/// Where it listens, when nobody says it: as Supervisor's `inet_http_server` in its sample.
const LISTEN: &str = "127.0.0.1:9001";

/// Runs a gateway, or does something about one in the background.
///
/// # Errors
/// When its file is wrong, or it cannot listen.
pub(super) fn run(config: &Config, args: Daemon<Gateway>) -> Result<Code, Failure> {
    match args.act {
        None => {
            if let Some(file) = &args.options.file {
                let instead = "it reads its file as it starts: dsbus gateway restart";
                no_act(file, &config.around, ("gateway", &["reload"]), instead)?;
            }
            serve(config, args.options).inspect_err(tell_starter)
        }
        Some(act) => {
            let (act, options) = Act::of(act);
            if let Some(path) = options.file.as_ref().filter(|_| act.starts()) {
                read(path)?;
            }
            background::Daemon::new("gateway", None, &options.own, config)?.act(act)
        }
    }
}

fn serve(config: &Config, args: Gateway) -> Result<Code, Failure> {
    role::must_be(config, &["gateway"], "gateway")?;
    let _pidfile = begin(&args.own, "gateway")?;
    let mut settings = match &args.file {
        None => Settings::default(),
        Some(path) => read(path)?,
    };
    if !args.listen.is_empty() {
        settings.listen = args.listen;
    } else if settings.listen.is_empty() {
        settings.listen = vec![Listen::parse(LISTEN).map_err(Failure::failed)?];
    }
    let connect = config.connect("dsbus gateway", true);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = stop()?;
        let config = dsbus_gateway::Config {
            connect,
            settings,
            worker: args.worker,
            insecure: args.insecure,
        };
        match dsbus_gateway::run(config, shutdown).await {
            Ok(()) => Ok(Code::Done),
            Err(e @ Error::Open(_)) => Err(Failure::usage(e.to_string())
                .hint("name users in a file (dsbus gateway --help), or say --insecure")),
            Err(e) => Err(Failure::failed(format!("the gateway ends: {e}"))),
        }
    })
}

/// Reads its file; a path in there is relative to it.
fn read(path: &Path) -> Result<Settings, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = text_of(path).map_err(wrong)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    Settings::parse(&text, |file| read_limited_text(&beside.join(file), TEXT_BYTES_MAX))
        .map_err(wrong)
}
