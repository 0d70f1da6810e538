//! On what it was measured.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::process::Command;

/// Machine and versions, as far as they can be found out.
pub(crate) fn described() -> BTreeMap<String, String> {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map(|(_, name)| name.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").ok().map(|t| t.trim().to_owned());
    let dsbus = crate::beside("dsbus").ok().and_then(|path| version(Command::new(path)));
    let nats = version(Command::new(dsbus_harness::nats_server()));
    let facts = [
        ("cores", Some(cores.to_string())),
        ("cpu", model),
        ("dsbus", dsbus),
        ("kernel", kernel),
        ("nats-server", nats),
    ];
    facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?))).collect()
}

/// The last word of what it says of its version.
fn version(mut command: Command) -> Option<String> {
    let output = command.arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().last().map(|word| word.trim_start_matches('v').to_owned())
}
