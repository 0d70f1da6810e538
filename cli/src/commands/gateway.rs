//! `dsbus gateway [FILE]`

use std::path::Path;

use dsbus_gateway::users::Settings;
use dsbus_gateway::{Error, Listen};

use super::alert::stop;
use crate::args::Gateway;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::role;

/// Where it listens, when nobody says it: as Supervisor's `inet_http_server` in its sample.
const LISTEN: &str = "127.0.0.1:9001";

/// Runs a gateway.
///
/// # Errors
/// When its file is wrong, or it cannot listen.
pub(super) fn run(config: &Config, args: Gateway) -> Result<Code, Failure> {
    role::must_be(config, &["gateway"], "gateway")?;
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
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    Settings::parse(&text, |file| std::fs::read_to_string(beside.join(file))).map_err(wrong)
}
