//! What a declaration alone says against it. Pure.

use dsbus_schema::lenient::Size;
use dsbus_schema::program::{LogTarget, LogTargets, ProgramSpec};

use super::{Policy, Violation, matches};

/// What of the worker makes a difference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    /// Its own user.
    pub(crate) user: &'a str,
    /// How many other instances of the program are placed on it.
    pub(crate) copies: u32,
}

impl Policy {
    /// Everything in a declaration that is not allowed, as far as it alone tells.
    pub(crate) fn judge(&self, spec: &ProgramSpec, here: &Here<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Some(bar) = self.facts(here.user, "").bars(spec) {
            let value = spec.user.as_deref().unwrap_or(here.user);
            found.push(self.violation("user", value, bar.why, bar.key));
        }
        self.judge_capabilities(spec, &mut found);
        for name in spec.environment.keys() {
            found.extend(self.variable("environment", name));
        }
        self.judge_limits(spec, &mut found);
        let copies = here.copies.saturating_add(1);
        if let Some(most) = self.limits.instances.filter(|most| copies > *most) {
            let rule = format!("at most {most} of one program run here");
            found.push(self.violation("numprocs", spec.numprocs, rule, "limits.instances"));
        }
        found
    }

    fn judge_capabilities(&self, spec: &ProgramSpec, found: &mut Vec<Violation>) {
        for wanted in &spec.capabilities {
            let (allowed, by) = match &self.capabilities {
                Some(all) => (all.contains(wanted), "capabilities"),
                None => (self.root, "root"),
            };
            if !allowed {
                let rule = "it is not allowed".to_owned();
                found.push(self.violation("capabilities", wanted, rule, by));
            }
        }
    }

    /// Says whether a variable may be set by that key. Its value is nobody's business.
    pub(crate) fn variable(&self, key: &str, name: &str) -> Option<Violation> {
        let forbidden = self.forbidden();
        let by = forbidden.into_iter().find(|pattern| matches(pattern, name))?;
        let rule = format!("{by} may not be set");
        let key_of_policy = match self.environment_forbidden {
            Some(_) => "environment_forbidden",
            None => "executables",
        };
        Some(self.violation(key, name, rule, key_of_policy))
    }

    fn judge_logs(&self, spec: &ProgramSpec, found: &mut Vec<Violation>) {
        let Some(most) = self.limits.log_bytes else { return };
        let stdout = (spec.stdout_logfile_maxbytes, spec.stdout_logfile_backups);
        let stderr = (spec.stderr_logfile_maxbytes, spec.stderr_logfile_backups);
        let files = [files(&spec.stdout_logfile), files(&spec.stderr_logfile)];
        for (key, (size, backups), files) in
            [("stdout_logfile", stdout, files[0]), ("stderr_logfile", stderr, files[1])]
        {
            // What is not written to the disk takes none of it; with `redirect_stderr` there is
            // no other channel.
            if files == 0 || (key == "stderr_logfile" && spec.redirect_stderr) {
                continue;
            }
            let bytes = log_bytes(size, backups).map(|bytes| bytes.saturating_mul(files));
            if bytes.is_none_or(|bytes| bytes > most.0) {
                let value =
                    bytes.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes"));
                let rule =
                    format!("at most {} bytes, all its files and rotated ones included", most.0);
                found.push(self.violation(key, value, rule, "limits.log_bytes"));
            }
        }
    }

    fn judge_limits(&self, spec: &ProgramSpec, found: &mut Vec<Violation>) {
        let bounds = &self.limits;
        let unlimited = || "unlimited".to_owned();
        let mut tell = |key: &str, value: String, rule: String| {
            found.push(self.violation(key, value, rule, &format!("limits.{}", short(key))));
        };
        if let Some(most) = bounds.memory {
            let value = spec.limits.memory;
            if value.is_none_or(|value| value.0 > most.0) {
                let value = value.map_or_else(unlimited, |value| value.0.to_string());
                tell("limits.memory", value, format!("at most {} bytes", most.0));
            }
        }
        if let Some(most) = bounds.cpu {
            let value = spec.limits.cpu;
            if value.is_none_or(|value| value > most) {
                let value = value.map_or_else(unlimited, |value| value.to_string());
                tell("limits.cpu", value, format!("at most {most} cores"));
            }
        }
        if let Some(most) = bounds.pids {
            let value = spec.limits.pids;
            if value.is_none_or(|value| value > most) {
                let value = value.map_or_else(unlimited, |value| value.to_string());
                tell("limits.pids", value, format!("at most {most}"));
            }
        }
        for (name, most) in &bounds.rlimits {
            let Some(limit) = spec.rlimits.get(name) else { continue };
            if limit.hard.is_none_or(|hard| hard > *most) {
                tell(&format!("rlimits.{name}"), limit.to_string(), format!("at most {most}"));
            }
        }
        if let Some(most) = bounds.touch_timeout
            && spec.touch_seconds() > most.0.as_secs()
        {
            let value = format!("{}s", spec.touch_seconds());
            tell("touch_timeout", value, format!("at most {most}"));
        }
        if let Some(most) = bounds.stopwaitsecs
            && spec.stopwaitsecs.0 > most.0
        {
            tell("stopwaitsecs", spec.stopwaitsecs.to_string(), format!("at most {most}"));
        }
        self.judge_logs(spec, found);
        if let (Some(least), Some(value)) = (bounds.nice, spec.nice)
            && value < least
        {
            found.push(self.violation("nice", value, format!("at least {least}"), "limits.nice"));
        }
        if let (Some(least), Some(value)) = (bounds.oom_score_adj, spec.oom_score_adj)
            && value < least
        {
            let rule = format!("at least {least}");
            found.push(self.violation("oom_score_adj", value, rule, "limits.oom_score_adj"));
        }
    }
}

/// Below `limits` keys have the name that they have in a declaration, without its `limits.`.
fn short(key: &str) -> &str {
    key.strip_prefix("limits.").unwrap_or(key)
}

/// How many files a channel is written to. One that is named twice counts once.
fn files(targets: &LogTargets) -> u64 {
    let mut found: Vec<&LogTarget> = Vec::new();
    for target in targets.targets() {
        match target {
            LogTarget::Auto | LogTarget::File(_) if !found.contains(&target) => found.push(target),
            LogTarget::Auto | LogTarget::File(_) => {}
            LogTarget::Stdout | LogTarget::Stderr | LogTarget::Syslog | LogTarget::Null => {}
        }
    }
    found.len() as u64
}

/// Most bytes that one file of a log takes; `None` where it is not rotated.
fn log_bytes(size: Size, backups: u32) -> Option<u64> {
    (size.0 > 0).then(|| size.0.saturating_mul(u64::from(backups) + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::Source;

    fn judged(policy: Value, spec: Value, copies: u32) -> Vec<String> {
        let mut policy: Policy = serde_json::from_value(policy).unwrap();
        let lines = ["users", "root", "limits", "environment_forbidden", "executables"];
        let lines = lines.into_iter().zip(1..).map(|(key, line)| (key.to_owned(), line));
        policy.source = Source { file: "w.toml".to_owned(), lines: lines.collect() };
        let spec: ProgramSpec = serde_json::from_value(spec).unwrap();
        let here = Here { user: "root", copies };
        policy.judge(&spec, &here).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_rule_allows_and_refuses() {
        let nothing: &[&str] = &[];
        for (policy, spec, said) in [
            (json!({}), json!({ "user": "root", "nice": -20 }), nothing),
            (json!({ "root": false }), json!({ "user": "app" }), nothing),
            (
                json!({ "root": false }),
                json!({}),
                &["user root: user is not said, and would be root, and root is not allowed \
                   (w.toml:2: policy.root)"],
            ),
            (
                json!({ "users": ["app"] }),
                json!({ "user": "ann" }),
                &["user ann: user is ann, and allowed are app (w.toml:1: policy.users)"],
            ),
            (
                json!({ "root": false }),
                json!({ "user": "app", "capabilities": ["NET_BIND_SERVICE"] }),
                &["capabilities NET_BIND_SERVICE: it is not allowed (w.toml:2: policy.root)"],
            ),
            (
                json!({ "root": false, "capabilities": ["CAP_NET_BIND_SERVICE"] }),
                json!({ "user": "app", "capabilities": ["NET_BIND_SERVICE"] }),
                nothing,
            ),
            (
                json!({ "environment_forbidden": ["LD_*", "PATH"] }),
                json!({ "environment": { "LD_PRELOAD": "secret", "LDX": "1", "XPATH": "2" } }),
                &["environment LD_PRELOAD: LD_* may not be set (w.toml:4: \
                   policy.environment_forbidden)"],
            ),
            (
                json!({ "executables": ["/bin/*"] }),
                json!({ "environment": { "LD_AUDIT": "x" } }),
                &["environment LD_AUDIT: LD_* may not be set (w.toml:5: policy.executables)"],
            ),
            (
                json!({ "executables": ["/bin/*"], "environment_forbidden": [] }),
                json!({ "environment": { "LD_AUDIT": "x" } }),
                nothing,
            ),
            (
                json!({ "executables": ["/bin/*"] }),
                json!({ "environment": { "OPENSSL_CONF": "x", "PYTHONPATH": "x" } }),
                nothing,
            ),
            (
                json!({ "executables": ["/bin/*", { "path": "/b", "sha256": "0".repeat(64) }] }),
                json!({
                    "environment": { "GCONV_PATH": "x", "NODE_OPTIONS": "x", "OPENSSL_MODULES": "x",
                        "PATH": "/bin", "PORT": "1", "TZ": "UTC" }
                }),
                &[
                    "environment GCONV_PATH: GCONV_PATH may not be set (w.toml:5: \
                     policy.executables)",
                    "environment NODE_OPTIONS: NODE_* may not be set (w.toml:5: \
                     policy.executables)",
                    "environment OPENSSL_MODULES: OPENSSL_MODULES may not be set (w.toml:5: \
                     policy.executables)",
                ],
            ),
            (
                json!({ "limits": { "memory": "1MB", "cpu": 1, "pids": 10 } }),
                json!({ "limits": { "memory": "2MB", "cpu": 1.5 } }),
                &[
                    "limits.memory 2097152: at most 1048576 bytes (w.toml:3: policy.limits.memory)",
                    "limits.cpu 1.5: at most 1 cores (w.toml:3: policy.limits.cpu)",
                    "limits.pids unlimited: at most 10 (w.toml:3: policy.limits.pids)",
                ],
            ),
            (
                json!({ "limits": { "memory": "1MB", "cpu": 1, "pids": 10 } }),
                json!({ "limits": { "memory": "1MB", "cpu": 1, "pids": 10 } }),
                nothing,
            ),
            (
                json!({ "limits": { "rlimits": { "nofile": 1024, "nproc": 9 } } }),
                json!({ "rlimits": { "nofile": "512:1025", "core": "unlimited" } }),
                &["rlimits.nofile 512:1025: at most 1024 (w.toml:3: policy.limits.rlimits.nofile)"],
            ),
            (
                json!({ "limits": { "touch_timeout": "10s", "stopwaitsecs": "5s" } }),
                json!({ "touch_timeout": "11s", "stopwaitsecs": 6 }),
                &[
                    "touch_timeout 11s: at most 10s (w.toml:3: policy.limits.touch_timeout)",
                    "stopwaitsecs 6s: at most 5s (w.toml:3: policy.limits.stopwaitsecs)",
                ],
            ),
            (
                json!({ "limits": { "log_bytes": 3000 } }),
                json!({
                    "stdout_logfile_maxbytes": 1000, "stdout_logfile_backups": 2,
                    "stderr_logfile_maxbytes": 0
                }),
                &["stderr_logfile unlimited: at most 3000 bytes, all its files and rotated ones \
                     included (w.toml:3: policy.limits.log_bytes)"],
            ),
            (
                json!({ "limits": { "log_bytes": 3000 } }),
                json!({
                    "stdout_logfile": ["AUTO", "/a", "/a", "syslog"],
                    "stdout_logfile_maxbytes": 1000, "stdout_logfile_backups": 1,
                    "stderr_logfile": ["NONE", "syslog"], "stderr_logfile_maxbytes": 0
                }),
                &["stdout_logfile 4000 bytes: at most 3000 bytes, all its files and rotated ones \
                     included (w.toml:3: policy.limits.log_bytes)"],
            ),
            (
                json!({ "limits": { "log_bytes": 3000 } }),
                json!({
                    "stdout_logfile": "NONE", "stdout_logfile_maxbytes": 0,
                    "redirect_stderr": true, "stderr_logfile_maxbytes": 0
                }),
                nothing,
            ),
            (
                json!({ "limits": { "nice": 0, "oom_score_adj": -5 } }),
                json!({ "nice": -1, "oom_score_adj": -6 }),
                &[
                    "nice -1: at least 0 (w.toml:3: policy.limits.nice)",
                    "oom_score_adj -6: at least -5 (w.toml:3: policy.limits.oom_score_adj)",
                ],
            ),
        ] {
            assert_eq!(judged(policy.clone(), spec.clone(), 0), said, "{policy} {spec}");
        }
    }

    #[test]
    fn copies_on_one_worker_are_counted() {
        let policy = json!({ "limits": { "instances": 2 } });
        assert_eq!(judged(policy.clone(), json!({ "numprocs": 9 }), 1), Vec::<String>::new());
        let told = judged(policy, json!({ "numprocs": 9 }), 2);
        assert_eq!(
            told,
            ["numprocs 9: at most 2 of one program run here (w.toml:3: policy.limits.instances)"]
        );
    }

    #[test]
    fn a_policy_with_mistakes_is_told() {
        let policy = json!({
            "directories": ["srv"],
            "executables": ["x", "/a/***", { "path": "/b", "sha256": "12" }],
            "limits": { "rlimits": { "nofiles": 1 } }
        });
        let policy: Policy = serde_json::from_value(policy).unwrap();
        let keys: Vec<String> = policy.problems().into_iter().map(|(key, _)| key).collect();
        let executables = "executables";
        assert_eq!(keys, ["directories", executables, executables, executables, "limits"]);
        assert!(serde_json::from_value::<Policy>(json!({ "user": "app" })).is_err());
    }
}
