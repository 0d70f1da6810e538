//! What stands in a `supervisord.conf` and means nothing in a `worker.toml`: told with the reason.

/// Why a key or section means nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) message: &'static str,
    pub(super) hint: Option<&'static str>,
}

/// The reason, for names that people bring along.
pub(super) fn reason(key: &str) -> Option<Reason> {
    let key = key.to_ascii_lowercase();
    let base = key.split(':').next().unwrap_or_default();
    let (message, hint) = match base {
        "supervisord" | "worker" => (
            "the file has no such section",
            Some("its keys stand at the top of the file, without a header"),
        ),
        "program" | "group" | "fcgi-program" | "eventlistener" => (
            "programs are not in a worker's file: the whole fleet knows them",
            Some("declare them in a file of their own, for dsbus apply"),
        ),
        "unix_http_server" | "inet_http_server" | "rpcinterface" | "http_port" => (
            "a worker serves no HTTP: it is commanded over the bus",
            Some("remove it; dsbus status, start, stop and the others need no server here"),
        ),
        "supervisorctl" | "ctlplugin" => (
            "is about the client, and dsbus finds the bus by --nats or NATS_URL",
            Some("remove it"),
        ),
        "include" => ("a worker has one file", Some("move what is included into it")),
        "profile_options" => {
            ("is about the profiler of Python's supervisord, which is not here", Some("remove it"))
        }
        "nats" | "url" | "nats_url" => (
            "the bus is not named in this file",
            Some("give --nats, or set NATS_URL in the worker's environment"),
        ),
        "fleet" => (
            "the fleet is not named in this file",
            Some("give --fleet, or set DSBUS_FLEET in the worker's environment"),
        ),
        _ => return None,
    };
    Some(Reason { message, hint })
}

/// What a person meant who comes from Supervisor, by a line that is no TOML.
pub(super) fn syntax_hint(line: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with("[program:") || line.starts_with("[group:") {
        return Some(
            "programs are not in a worker's file: declare them with dsbus apply".to_owned(),
        );
    }
    if line.starts_with(';') {
        return Some("in TOML a comment begins with #".to_owned());
    }
    let (key, value) = line.split_once('=')?;
    let value = value.split(" ;").next().unwrap_or_default().trim();
    let bare = !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']);
    bare.then(|| format!("in TOML text is quoted: {} = {value:?}", key.trim()))
}
