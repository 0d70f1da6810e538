//! What instances use, from two answers of their worker. Pure.

use std::collections::BTreeMap;

use dsbus_schema::call::Using;
use dsbus_schema::ids::InstanceId;

/// What an instance uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Used {
    /// Of one processor; `None` until it was asked twice.
    pub(super) cpu_percent: Option<f64>,
    /// In bytes.
    pub(super) memory: u64,
}

/// What was last answered of each.
#[derive(Debug, Default)]
pub(super) struct Samples {
    last: BTreeMap<InstanceId, (u64, i32, u64)>,
}

impl Samples {
    /// Takes an answer, and tells what it comes to.
    pub(super) fn take(&mut self, answer: Using) -> Vec<(InstanceId, Used)> {
        let at = answer.at_ms;
        let used = answer.instances.into_iter().map(|one| {
            let before = self.last.insert(one.name.clone(), (at, one.pid, one.cpu_ms));
            let cpu_percent = before.and_then(|(before, pid, cpu)| {
                let (passed, spent) = (at.checked_sub(before)?, one.cpu_ms.checked_sub(cpu)?);
                (pid == one.pid && passed > 0).then(|| percent(spent, passed))
            });
            (one.name, Used { cpu_percent, memory: one.memory })
        });
        used.collect()
    }

    /// Forgets what is not among these any more.
    pub(super) fn keep(&mut self, is_known: impl Fn(&InstanceId) -> bool) {
        self.last.retain(|name, _| is_known(name));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it, without decimals")]
fn percent(spent: u64, passed: u64) -> f64 {
    spent as f64 * 100.0 / passed as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::call::Use;
    use dsbus_schema::ids::ProgramName;

    #[test]
    fn a_share_is_known_after_two_answers_about_one_process() {
        let name = InstanceId::new(ProgramName::parse("web").unwrap(), 0);
        let answer = |at_ms, pid, cpu_ms| Using {
            at_ms,
            instances: vec![Use { name: name.clone(), pid, cpu_ms, memory: 9 }],
        };
        let mut samples = Samples::default();
        for (at, pid, cpu, percent) in [
            (1_000, 7, 500, None),
            (3_000, 7, 1_500, Some(50.0)),
            (3_000, 7, 1_500, None),
            (5_000, 8, 20, None),
            (6_000, 8, 2_020, Some(200.0)),
            (4_000, 8, 3_000, None),
        ] {
            let used = samples.take(answer(at, pid, cpu));
            assert_eq!(used[0].1, Used { cpu_percent: percent, memory: 9 }, "{at}");
        }
    }
}
