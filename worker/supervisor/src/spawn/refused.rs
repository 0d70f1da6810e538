//! What of a declaration's commands the owner of the machine does not allow.

use std::path::Path;

use dsbus_schema::program::expand::{Variables, expand};
use dsbus_schema::program::{HookPoint, ProgramSpec};

use super::{Draft, Who, env_file};
use crate::policy::{self, Violation};

/// All that may run beside a child.
const HOOKS: [HookPoint; 4] =
    [HookPoint::PreStart, HookPoint::PostStart, HookPoint::PreStop, HookPoint::PostStop];

/// The commands of a declaration that the owner of the machine does not allow, and variables of its
/// files that it does not. What is wrong otherwise is told by whoever starts it.
pub(crate) fn refused(spec: &ProgramSpec, who: &Who<'_>, known: &Variables) -> Vec<Violation> {
    let (policy, hashes) = (&who.settings.policy, &who.machine.hashes);
    let mut found = Vec::new();
    for text in &spec.env_file {
        let read = expand(text, known).ok().and_then(|path| env_file::read(Path::new(&path)).ok());
        let names = read.into_iter().flatten().map(|(name, _)| name);
        found.extend(names.filter_map(|name| policy.variable("env_file", &name)));
    }
    if policy.executables.is_none() {
        return found;
    }
    let hooks = HOOKS.into_iter().filter_map(|point| Some((point, spec.hook(point)?)));
    let hooks = hooks.map(|(point, hook)| (point.key(), hook.argv()));
    let probes = [("readiness", &spec.readiness), ("liveness", &spec.liveness)];
    let probes = probes
        .into_iter()
        .filter_map(|(key, probe)| Some((key, probe.as_ref()?.exec.as_ref()?.argv(false))));
    for (key, argv) in [("command", spec.argv())].into_iter().chain(hooks).chain(probes) {
        let Ok(argv) = argv else { continue };
        let draft = Draft::new(spec, who, known, &argv);
        let Ok(executable) = draft.and_then(|draft| draft.executable()) else { continue };
        found.extend(policy::executable(policy, hashes, key, &executable.path).err());
    }
    found
}
