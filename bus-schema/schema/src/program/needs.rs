//! What a program needs that not every worker has.

use super::ProgramSpec;

/// Something that a worker can do for a child, or cannot: `limits.memory`, `limits.cpu`,
/// `limits.pids`, `user`, `negative nice`, `negative oom_score_adj`, `capability NAME`,
/// [`ENVIRONMENT_FILE`](super::ENVIRONMENT_FILE), [`ENVIRONMENT_SECRET`](super::ENVIRONMENT_SECRET),
/// or [`EVENT_LISTENERS`](super::EVENT_LISTENERS); and [`CGROUP`], which no program needs.
pub type Facility = String;

/// The worker keeps each child with all its descendants in a cgroup (version 2): a kill leaves none
/// of them.
pub const CGROUP: &str = "cgroup";

/// The worker can run a child as another user than its own.
pub const USER: &str = "user";

/// The key of a declaration that needs a facility.
pub fn key_of(facility: &str) -> &str {
    match facility.split_once([' ', '.']) {
        Some(("negative", key)) => key,
        Some(("capability", _)) => "capabilities",
        Some((key, _)) => key,
        None => facility,
    }
}

impl ProgramSpec {
    /// What its worker must be able to do. An instance is placed only where all of this is.
    pub fn needs(&self) -> Vec<Facility> {
        let mut needs = Vec::new();
        let mut need = |wanted: bool, facility: &str| {
            if wanted {
                needs.push(facility.to_owned());
            }
        };
        need(self.user.is_some(), USER);
        need(self.limits.memory.is_some(), "limits.memory");
        need(self.limits.cpu.is_some(), "limits.cpu");
        need(self.limits.pids.is_some(), "limits.pids");
        need(self.nice.is_some_and(|nice| nice < 0), "negative nice");
        need(self.oom_score_adj.is_some_and(|adj| adj < 0), "negative oom_score_adj");
        needs.extend(self.environment_needs());
        needs.extend(self.event_listener_need());
        needs.extend(self.capabilities.iter().map(|name| format!("capability {name}")));
        needs
    }
}
