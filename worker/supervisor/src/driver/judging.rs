//! Whether the owner of the machine, and what the worker is, allow a placement. It is judged when it
//! comes, before each start, and when the owner changes the policy.

use std::path::{Path, PathBuf};

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{ProgramSpec, SocketAddress};
use dsbus_schema::worker::Refusal;

use super::Driver;
use crate::clock::Now;
use crate::instance::Input;
use crate::policy::{self, Here, Paths, Violation};
use crate::spawn;

/// Most bytes of a reason: it is told in events and states, and kept in the instance's goal.
const REASON_BYTES_MAX: usize = 500;

impl Driver {
    /// Why an instance may not be started here, if it may not.
    pub(super) fn judge(&self, name: &InstanceId, spec: &ProgramSpec) -> Option<Refusal> {
        let (policy, machine) = (&self.config.settings.policy, &self.machine);
        // Values that cannot be expanded fail the start, which says so.
        let known = self.variables(name, spec).unwrap_or_default();
        let mut found = policy::unable(spec, machine, &self.config.settings, &known);
        if !policy.is_open() {
            found.extend(self.violations(name, spec, &known));
        }
        if found.is_empty() {
            return None;
        }
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let mut reason = told.join("; ");
        if reason.len() > REASON_BYTES_MAX {
            let end = reason.floor_char_boundary(REASON_BYTES_MAX);
            reason.truncate(end);
            reason.push_str(" ...");
        }
        let facts = machine.policy_facts(policy);
        Some(Refusal { policy: facts.map(|facts| facts.digest).unwrap_or_default(), reason })
    }

    fn violations(
        &self,
        name: &InstanceId,
        spec: &ProgramSpec,
        known: &Variables,
    ) -> Vec<Violation> {
        let (policy, machine) = (&self.config.settings.policy, &self.machine);
        let others = self.table.iter().filter(|(other, instance)| {
            other.program == name.program && *other != name && instance.is_placed()
        });
        let counted = policy.limits.instances.is_some();
        let copies = if counted { others.count() } else { 0 };
        let copies = u32::try_from(copies).unwrap_or(u32::MAX);
        let user = machine.user();
        let mut found = policy.judge(spec, &Here { user: &user, copies });
        let home = self.home.instance(name);
        let homes = [Some(home.as_path()), self.config.settings.childlogdir.as_deref()];
        let homes: Vec<&Path> = homes.into_iter().flatten().collect();
        // It is made when it is needed, and links are followed only where something is.
        let confined = policy.directories.is_some() || policy.keeps_root_out(machine.uid);
        if confined && !home.is_dir() {
            let _ = self.directory(name);
        }
        let paths = self.paths(name, spec, known);
        found.extend(policy::look(policy, machine, spec.user.as_deref(), &homes, &paths));
        // A file in a directory that is not allowed is not read.
        if found.is_empty() {
            found.extend(spawn::refused(spec, &self.who(name, &home, None), known));
        }
        found
    }

    /// Every path of a declaration that the worker or the child enters, reads or writes because it is
    /// declared.
    fn paths(&self, name: &InstanceId, spec: &ProgramSpec, known: &Variables) -> Paths {
        let mut paths = Paths::new();
        let mut add = |key: &str, text: &str| {
            let path = PathBuf::from(expand(text, known).unwrap_or_else(|_| text.to_owned()));
            paths.push((key.to_owned(), path));
        };
        for text in &spec.env_file {
            add("env_file", text);
        }
        for text in spec.environment_files() {
            add("environment", text);
        }
        for (key, text) in [("directory", &spec.directory), ("pidfile", &spec.pidfile)] {
            if let Some(text) = text {
                add(key, text);
            }
        }
        for file in &spec.extra_files {
            add("extra_files", &file.path);
        }
        let sockets = spec.listen.iter().map(|one| ("listen", one));
        for (key, address) in sockets.chain(spec.socket.iter().map(|one| ("socket", one))) {
            match address {
                SocketAddress::Unix(path) => add(key, path),
                SocketAddress::Tcp(_) => {}
            }
        }
        for (key, channel) in
            [("stdout_logfile", Channel::Stdout), ("stderr_logfile", Channel::Stderr)]
        {
            if channel == Channel::Stderr && spec.redirect_stderr {
                continue;
            }
            let files = self.plan_with(name, spec, channel, known).files;
            paths.extend(files.into_iter().map(|path| (key.to_owned(), path)));
        }
        paths
    }

    /// Judges everything anew: the owner changed the policy. What runs stays until its next start.
    pub(super) fn judge_all(&mut self, now: Now) {
        let all: Vec<InstanceId> = self.table.iter().map(|(name, _)| name.clone()).collect();
        for name in all {
            let Some(instance) = self.table.get(&name) else { continue };
            let spec = instance.spec().clone();
            let lives = instance.child().is_some();
            let refusal = self.judge(&name, &spec);
            if let Some(refusal) = refusal.as_ref().filter(|_| lives) {
                let why = &refusal.reason;
                tracing::warn!(
                    "{name} is not allowed any more, and runs until its next start: {why}"
                );
            }
            let effects = self.table.handle(&name, Input::Judged { refusal }, now);
            self.perform(effects, now);
        }
    }
}
