//! Whatever happens in whatever order: no event is lost or told twice within what is written, and
//! the promises of a rule are kept.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::group::EVENTS_MAX;

const QUIET: u64 = 60;
const LIMIT: (usize, u64) = (3, 100);

#[derive(Debug, Clone)]
enum Step {
    /// An event of one of a few programs.
    Event(u8),
    /// One of the last events comes again.
    Again(u8),
    /// Seconds pass.
    Pass(u8),
    /// What changed is written.
    Write,
    /// The process dies; what was not written comes again.
    Crash,
    /// Something becomes of a letter.
    Deliver(u8),
    Fail(u8),
    Bury(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8).prop_map(Step::Event),
        1 => any::<u8>().prop_map(Step::Again),
        4 => (1..90u8).prop_map(Step::Pass),
        3 => Just(Step::Write),
        1 => Just(Step::Crash),
        1 => any::<u8>().prop_map(Step::Deliver),
        1 => any::<u8>().prop_map(Step::Fail),
        1 => any::<u8>().prop_map(Step::Bury),
    ]
}

/// How many events are in what was told; one that was held and of which only the number is told
/// counts too.
fn told(news: &News) -> u64 {
    match news.kind {
        NewsKind::Held => news.bundle.count,
        NewsKind::Events | NewsKind::Flapping | NewsKind::Calm | NewsKind::Test => {
            news.bundle.count + news.held_events
        }
    }
}

/// What is written of what is told: letters on their way and dead ones.
fn written(desk: &Desk) -> BTreeMap<Uuid, News> {
    let letters = desk.bus.iter().filter_map(|(key, body)| match key {
        AlertKey::Letter(_) => serde_json::from_value::<Letter>(body.clone()).ok(),
        AlertKey::Dead(_) => {
            serde_json::from_value::<DeadLetter>(body.clone()).ok().map(|d| d.letter)
        }
        _ => None,
    });
    letters.map(|letter| (letter.news.id, letter.news)).collect()
}

/// How many events are known, and not told.
fn waiting(core: &Core) -> u64 {
    let groups = core.groups.values().map(|group| match &group.stage {
        AlertStage::Quiet => 0,
        AlertStage::Waiting { bundle, .. } | AlertStage::Flapping { bundle, .. } => bundle.count,
    });
    groups.sum::<u64>() + core.rates.values().map(|rate| rate.bundle.count).sum::<u64>()
}

/// What the rules promise about the times of what they tell.
fn keep_promises(news: &BTreeMap<Uuid, News>) {
    let mut by_group: BTreeMap<_, Vec<&News>> = BTreeMap::new();
    let mut times: Vec<_> = news.values().map(|news| news.made).collect();
    for news in news.values().filter(|news| news.kind == NewsKind::Events) {
        by_group.entry(&news.labels).or_default().push(news);
    }
    for mut group in by_group.into_values() {
        group.sort_by_key(|news| news.made);
        for two in group.windows(2) {
            let apart = two[1].made.since(two[0].made).as_secs();
            assert!(apart >= QUIET, "{apart} s between two messages of one group");
        }
    }
    times.sort();
    for some in times.windows(LIMIT.0 + 1) {
        let apart = some[LIMIT.0].since(some[0]).as_secs();
        assert!(apart >= LIMIT.1, "{} messages in {apart} s", LIMIT.0 + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_and_promises_are_kept(steps in prop::collection::vec(step(), 1..150)) {
        let mut desk = Desk::new(&one_rule(&json!({
            "group_wait": "5s",
            "quiet": format!("{QUIET}s"),
            "rate_limit": format!("{}/{}s", LIMIT.0, LIMIT.1),
            "flap": { "count": 4, "within": "50s" },
        })));
        let (mut now, mut seq) = (0, 0);
        // Events in order of their sequences; those from `acknowledged` on come again after a crash.
        let (mut events, mut acknowledged) = (Vec::new(), 0);
        let mut news = BTreeMap::new();
        for step in steps {
            match step {
                Step::Event(program) => {
                    seq += 1;
                    events.push((seq, program, now));
                    let event = numbered(seq, fatal(&format!("p{program}"), 0, "w1"));
                    desk.core.heard(&event, seq, at(now), at(now));
                }
                Step::Again(back) => {
                    let known = events.len().min(usize::from(group::IDS_MAX));
                    if let Some((seq, program, stored)) =
                        (known > 0).then(|| events[events.len() - 1 - usize::from(back) % known])
                    {
                        let event = numbered(seq, fatal(&format!("p{program}"), 0, "w1"));
                        desk.core.heard(&event, seq, at(stored), at(now));
                    }
                }
                Step::Pass(seconds) => {
                    now += u64::from(seconds);
                    desk.core.tick(at(now));
                    prop_assert!(desk.core.wakes().is_none_or(|wakes| wakes > at(now)));
                }
                Step::Write => {
                    desk.write();
                    acknowledged = events.len();
                }
                Step::Crash => {
                    desk.crash(now);
                    for (seq, program, stored) in events[acknowledged..].iter().rev() {
                        let event = numbered(*seq, fatal(&format!("p{program}"), 0, "w1"));
                        desk.core.heard(&event, *seq, at(*stored), at(now));
                    }
                    desk.core.tick(at(now));
                }
                Step::Deliver(n) | Step::Fail(n) | Step::Bury(n) => {
                    // Only what is written was given out.
                    let given = |id: &&Uuid| desk.bus.contains_key(&AlertKey::Letter(**id));
                    let ids: Vec<Uuid> = desk.core.letters.keys().filter(given).copied().collect();
                    let id = ids.get(usize::from(n) % ids.len().max(1)).copied();
                    match (step, id) {
                        (_, None) => {}
                        (Step::Fail(_), Some(id)) => desk.core.failed(id, "away".to_owned()),
                        (Step::Bury(_), Some(id)) => {
                            desk.core.died(id, "no".to_owned(), true, at(now));
                        }
                        (_, Some(id)) => desk.core.delivered(id),
                    }
                }
            }
            news.extend(written(&desk));
        }
        desk.write();
        news.extend(written(&desk));
        prop_assert!(news.values().all(|news| news.bundle.events.len() <= EVENTS_MAX));
        keep_promises(&news);
        let total = news.values().map(told).sum::<u64>() + waiting(&desk.core);
        prop_assert_eq!(total, events.len() as u64);
    }
}
