//! What is allowed in a declaration, and worth saying: mostly keys that have no effect.

use super::child::TOUCH_TIMEOUT_EXCLUSIVE;
use super::{LogTargets, Problem, ProgramSpec, SocketAddress};

impl ProgramSpec {
    /// What is allowed but worth saying.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut found = self.idle_keys();
        found.extend(self.event_listener_warnings());
        if self.exclusive && self.touch_seconds() < TOUCH_TIMEOUT_EXCLUSIVE {
            let message = format!("{}s is short for an exclusive program", self.touch_seconds());
            found.push(
                Problem::new("touch_timeout", message)
                    .hint("on three NATS nodes an election takes up to 8.5 s and would stop it"),
            );
        }
        if self.exclusive && self.daemon {
            let message = "with daemon = true the process that runs is not the worker's own child, \
                           and does not end with a supervisor that is killed";
            found.push(
                Problem::new("exclusive", message)
                    .hint("run it in the foreground, if it can do that"),
            );
        }
        found
    }

    /// Keys that do nothing beside the others as they are.
    fn idle_keys(&self) -> Vec<Problem> {
        let of = ProgramSpec::default();
        let sockets = || self.socket.iter().chain(&self.listen);
        let unix = sockets().any(|address| matches!(address, SocketAddress::Unix(_)));
        let own_stderr = self.stderr_logfile != LogTargets::default()
            || self.stderr_syslog
            || self.stderr_capture_maxbytes.0 > 0
            || self.stderr_events_enabled;
        [
            (
                self.killasgroup == Some(false),
                "killasgroup",
                "has no effect: SIGKILL ends everything that a child has started",
            ),
            (
                self.restart_limit == 0 && self.restart_window != of.restart_window,
                "restart_window",
                "has no effect without restart_limit",
            ),
            (
                self.redirect_stderr && own_stderr,
                "redirect_stderr",
                "sends standard error to where standard output goes: the stderr_ keys have no effect",
            ),
            (
                self.socket_owner.is_some() && !unix,
                "socket_owner",
                "has no effect without a unix:// socket or listen",
            ),
            (
                self.socket_mode != of.socket_mode && !unix,
                "socket_mode",
                "has no effect without a unix:// socket or listen",
            ),
            (
                self.socket_backlog.is_some() && sockets().next().is_none(),
                "socket_backlog",
                "has no effect without socket or listen",
            ),
        ]
        .into_iter()
        .filter(|(is, _, _)| *is)
        .map(|(_, key, message)| Problem::new(key, message))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keys_warned_of(declaration: &Value) -> Vec<String> {
        let spec = ProgramSpec::read(declaration.as_object().unwrap()).unwrap();
        spec.warnings().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn what_does_nothing_is_told() {
        for (declaration, warned) in [
            (json!({"command": "x"}), &[][..]),
            (json!({"command": "x", "killasgroup": true}), &[]),
            (json!({"command": "x", "killasgroup": false}), &["killasgroup"]),
            (json!({"command": "x", "restart_window": 5}), &["restart_window"]),
            (json!({"command": "x", "restart_window": 5, "restart_limit": 3}), &[]),
            (json!({"command": "x", "redirect_stderr": true}), &[]),
            (
                json!({"command": "x", "redirect_stderr": true, "stderr_logfile": "/tmp/e"}),
                &["redirect_stderr"],
            ),
            (
                json!({"command": "x", "socket_mode": "0770", "listen": "tcp://:80"}),
                &["socket_mode"],
            ),
            (json!({"command": "x", "socket_owner": "a", "socket": "unix:///run/x"}), &[]),
            (json!({"command": "x", "socket_backlog": 5}), &["socket_backlog"]),
            (json!({"command": "x", "exclusive": true}), &[]),
            (json!({"command": "x", "exclusive": true, "daemon": true}), &["exclusive"]),
            (json!({"command": "x", "exclusive": true, "touch_timeout": 5}), &["touch_timeout"]),
        ] {
            assert_eq!(keys_warned_of(&declaration), warned, "{declaration}");
        }
    }
}
