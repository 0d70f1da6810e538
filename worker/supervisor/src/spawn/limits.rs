//! Limits of setrlimit(2) that a child gets.

use std::collections::BTreeMap;

use dsbus_schema::program::{ProgramSpec, Rlimit};

use super::failure;
use crate::config::Settings;

/// The hard limit of this process that has that name; `None` where it is unlimited or not known.
pub(crate) fn hard_limit(name: &str) -> Option<u64> {
    let resource = failure::resource(name)?;
    let now = own_limit(resource);
    (now.rlim_max != libc::RLIM_INFINITY).then_some(now.rlim_max)
}

/// This process's limit.
pub(super) fn own_limit(resource: u32) -> libc::rlimit {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: asks this process's own limit, into a place on this stack.
    unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, 0, &raw mut now) };
    now
}

/// The limits of the worker's owner, and those of the program, which win. What the policy bounds and
/// nobody declares is the worker's own limit, if that is not more.
///
/// # Errors
/// When this machine does not know one.
pub(super) fn of(
    spec: &ProgramSpec,
    settings: &Settings,
) -> Result<Vec<(u32, libc::rlimit)>, String> {
    let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    let bounds = &settings.policy.limits.rlimits;
    let mut all = BTreeMap::new();
    for (name, given) in [("nofile", settings.nofile), ("core", settings.core)] {
        all.extend(given.map(|Rlimit { soft, hard }| (name, (number(soft), number(hard)))));
    }
    for (name, most) in bounds {
        let own = || failure::resource(name).map(own_limit).map(|own| (own.rlim_cur, own.rlim_max));
        let given = all.get(name.as_str()).copied().or_else(own);
        all.extend(given.map(|(soft, hard)| (name.as_str(), (soft.min(*most), hard.min(*most)))));
    }
    for (name, Rlimit { soft, hard }) in &spec.rlimits {
        all.insert(name, (number(*soft), number(*hard)));
    }
    let known = |(name, (soft, hard))| {
        let resource = failure::resource(name);
        let resource = resource.ok_or_else(|| format!("rlimits.{name} is not known here"))?;
        Ok((resource, libc::rlimit { rlim_cur: soft, rlim_max: hard }))
    };
    all.into_iter().map(known).collect()
}
