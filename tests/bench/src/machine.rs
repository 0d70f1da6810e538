//! On what it was measured.

use std::fs::read_to_string;
use std::process::Command;

use serde_json::{Value, json};

use crate::supervisor;

/// Machine and versions. What cannot be found out is null.
pub(crate) fn described() -> Value {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let dsbus = crate::beside("dsbus").ok().and_then(|path| said(Command::new(path)));
    json!({
        "cpu": model.and_then(|line| line.split_once(": ")).map(|(_, name)| name),
        "cores": cores,
        "memory": memory.lines().next().and_then(|line| line.split_once(':')).map(|m| m.1.trim()),
        "kernel": read_to_string("/proc/sys/kernel/osrelease").ok().map(|t| t.trim().to_owned()),
        "dsbus": dsbus,
        "nats-server": said(Command::new(dsbus_harness::nats_server())),
        "python": said(Command::new("python3")),
        "supervisor": supervisor::version().ok(),
    })
}

/// How busy the machine is with others, over the last minute.
pub(crate) fn load() -> Option<String> {
    Some(read_to_string("/proc/loadavg").ok()?.split(' ').next()?.to_owned())
}

fn said(mut command: Command) -> Option<String> {
    let output = command.arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
