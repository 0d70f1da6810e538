//! What a worker that is not root cannot do for a child, told before it is tried.

use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{ProgramSpec, Rlimit, SocketAddress, USER};

use super::Violation;
use crate::config::Settings;
use crate::facilities::{Machine, facilities};
use crate::spawn;

/// Ports from this one on are anybody's; the kernel says another one where its owner changed it.
const PORT_DEFAULT: u16 = 1024;
const PORT_FILE: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Everything that the worker cannot do.
pub(crate) fn unable(
    spec: &ProgramSpec,
    machine: &Machine,
    settings: &Settings,
    known: &Variables,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let by = format!("the worker runs as {}", machine.user());
    let mut tell = |key: &str, value: String, rule: String| {
        found.push(Violation { key: key.to_owned(), value, rule, by: by.clone() });
    };
    let needs = spec.needs();
    if !needs.is_empty() {
        let has = facilities(machine, settings);
        let own = || spec.user.as_deref().is_some_and(|user| machine.is_own(user));
        for need in needs.iter().filter(|need| !has.contains(need)) {
            if need != USER {
                let key = dsbus_schema::program::key_of(need);
                tell(key, need.clone(), "the worker cannot do that".to_owned());
            } else if !own() {
                let rule = "the worker may not run programs as another user".to_owned();
                tell("user", spec.user.clone().unwrap_or_default(), rule);
            }
        }
    }
    if !machine.capabilities.effective("SYS_RESOURCE") {
        for (name, wanted) in &spec.rlimits {
            if let Some(most) = spawn::hard_limit(name).filter(|most| exceeds(*wanted, *most)) {
                let rule =
                    format!("the worker's own hard limit is {most}, and it may not raise it");
                tell(&format!("rlimits.{name}"), wanted.to_string(), rule);
            }
        }
    }
    let sockets = spec.listen.iter().map(|one| ("listen", one));
    let sockets = sockets.chain(spec.socket.iter().map(|one| ("socket", one)));
    if !machine.capabilities.effective("NET_BIND_SERVICE") {
        let first = first_free_port();
        for (key, address) in sockets {
            let SocketAddress::Tcp(text) = address else { continue };
            let Ok(text) = expand(text, known) else { continue };
            let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_some_and(|port| port < first) {
                let rule = format!("the worker may not listen on ports below {first}");
                tell(key, address.to_string(), rule);
            }
        }
    }
    if let Some(owner) = &spec.socket_owner
        && !machine.capabilities.effective("CHOWN")
        && !machine.is_own(owner)
    {
        let rule = "the worker may not give files to another user".to_owned();
        tell("socket_owner", owner.clone(), rule);
    }
    found
}

fn exceeds(wanted: Rlimit, most: u64) -> bool {
    wanted.hard.is_none_or(|hard| hard > most)
}

fn first_free_port() -> u16 {
    let said = std::fs::read_to_string(PORT_FILE).ok();
    said.and_then(|text| text.trim().parse().ok()).unwrap_or(PORT_DEFAULT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_without_rights_says_what_it_cannot_do() {
        let settings = Settings { cgroup: crate::CgroupChoice::None, ..Settings::default() };
        let nobody = Machine::powerless(65534);
        let told = |spec: serde_json::Value| {
            let spec: ProgramSpec = serde_json::from_value(spec).unwrap();
            let found = unable(&spec, &nobody, &settings, &Variables::new());
            found.iter().map(|one| one.key.clone()).collect::<Vec<_>>()
        };
        let nothing: &[&str] = &[];
        for (spec, keys) in [
            (json!({ "command": "x" }), nothing),
            (json!({ "user": "root" }), &["user"]),
            (json!({ "user": "nobody" }), nothing),
            (json!({ "user": "65534" }), nothing),
            (json!({ "limits": { "memory": "10MB", "cpu": 1 } }), &["limits", "limits"]),
            (json!({ "nice": 3, "oom_score_adj": 5 }), nothing),
            (json!({ "nice": -3, "oom_score_adj": -5 }), &["nice", "oom_score_adj"]),
            (json!({ "capabilities": ["KILL"] }), &["capabilities"]),
            (json!({ "rlimits": { "nofile": 10 } }), nothing),
            (json!({ "rlimits": { "nofile": 4_000_000_000_u64 } }), &["rlimits.nofile"]),
            (json!({ "listen": ["tcp://:8080", "unix:///tmp/x"] }), nothing),
            (json!({ "socket_owner": "root" }), &["socket_owner"]),
            (json!({ "socket_owner": "nobody" }), nothing),
        ] {
            assert_eq!(told(spec.clone()), keys, "{spec}");
        }
        // Where the owner of the kernel has not opened all ports.
        if first_free_port() > 80 {
            assert_eq!(told(json!({ "listen": ["tcp://:80"] })), ["listen"]);
        }
        let root = Machine::without_cgroups();
        if root.uid == 0 && root.capabilities.effective("NET_BIND_SERVICE") {
            let spec: ProgramSpec =
                serde_json::from_value(json!({ "listen": ["tcp://:80"], "user": "nobody" }))
                    .unwrap();
            assert_eq!(unable(&spec, &root, &settings, &Variables::new()), []);
        }
    }
}
