//! How often refused placements are told: whoever forges them must not fill the events. Pure.

use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;

/// Refusals that are told within [`WINDOW`]; the others are counted.
const TOLD_MAX: u32 = 10;
/// See [`TOLD_MAX`].
const WINDOW: Duration = Duration::from_secs(60);

/// What was refused lately.
#[derive(Debug, Default)]
pub struct Refusals {
    since: Option<BootTime>,
    told: u32,
    untold: u64,
}

impl Refusals {
    /// What is to be told of a refusal, if anything.
    pub fn tell(&mut self, name: &InstanceId, why: &str, now: BootTime) -> Option<String> {
        if self.since.is_none_or(|since| now.since(since) >= WINDOW) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told >= TOLD_MAX {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        let others = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            n => format!(" ({n} more were refused before, and not told)"),
        };
        Some(format!("the placement of {name} does not count: {why}{others}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_part_and_counted() {
        let (name, mut refusals) = ("web:0".parse().unwrap(), Refusals::default());
        let at = |seconds: u64| BootTime(0) + Duration::from_secs(seconds);
        let told = (0..100).filter(|_| refusals.tell(&name, "why", at(5)).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(refusals.tell(&name, "why", at(64)), None);
        let next = refusals.tell(&name, "it is not signed", at(65)).unwrap();
        let text = "the placement of web:0 does not count: it is not signed (91 more were refused";
        assert!(next.starts_with(text), "{next}");
        let next = refusals.tell(&name, "why", at(65)).unwrap();
        assert!(!next.contains("more"), "{next}");
    }
}
