//! What an instance's goal remembers of workers that refused it.

use dsbus_schema::goal::{Goal, REFUSED_MAX, RefusedBy};

use super::{Goals, own};

/// Notes that a worker refused it, once for each epoch.
pub(super) fn refused(goals: &Goals, by: &RefusedBy, asked: u64) -> Option<Goal> {
    let mut goal = own(goals);
    let known = goal.refused.iter().position(|known| known.worker == by.worker);
    let noted = known.is_some_and(|at| goal.refused[at].epoch >= by.epoch);
    if noted && goal.refused_since >= asked {
        return None;
    }
    if goal.refused_since < asked {
        goal.refused_since = asked;
        goal.refused.clear();
    } else if let Some(at) = known {
        goal.refused.remove(at);
    } else if goal.refused.len() >= REFUSED_MAX {
        goal.refused.remove(0);
    }
    goal.refused.push(by.clone());
    Some(goal)
}
