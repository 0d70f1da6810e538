//! The queue beside a model of it that is made of sets, through all that can happen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    State,
    Output(usize),
    /// The loop goes round.
    Turn,
    /// The bus has a share of what the agent was given.
    Done(u8),
    AgentDies,
    /// Both processes die, or the worker is killed.
    WorkerDies,
    DiskFills,
    DiskMends,
    Told,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::State),
        8 => (0_usize..4_000).prop_map(Step::Output),
        10 => Just(Step::Turn),
        8 => any::<u8>().prop_map(Step::Done),
        1 => Just(Step::AgentDies),
        1 => Just(Step::WorkerDies),
        1 => Just(Step::DiskFills),
        1 => Just(Step::DiskMends),
        1 => Just(Step::Told),
    ]
}

fn limits() -> Limits {
    Limits {
        count: 30,
        bytes: 20_000,
        output_bytes: 8_000,
        segment_bytes: 1_500,
        window: 7,
        window_bytes: 6_000,
    }
}

/// What is known of the reports of one run, and of those that it found.
#[derive(Debug, Default)]
struct Model {
    /// All that there are to account for.
    all: BTreeSet<u64>,
    published: BTreeSet<u64>,
    /// Of these the queue's files know.
    published_before: BTreeSet<u64>,
    /// Reports of what was dropped, and what they told.
    telling: BTreeMap<u64, u64>,
    /// Given to the present agent, and not published.
    given: Vec<u64>,
    /// What was counted as dropped before.
    counted: u64,
}

struct Stage {
    directory: tempfile::TempDir,
    reports: Reports,
    model: Model,
    now: BootTime,
}

fn waiting(reports: &Reports) -> BTreeSet<u64> {
    reports.lanes.iter().flat_map(Lane::numbers).collect()
}

impl Stage {
    fn push(&mut self, what: Reported) -> u64 {
        let number = self.reports.push(what);
        assert!(self.model.all.insert(number), "{number} was given twice");
        number
    }

    fn turn(&mut self) {
        self.now = self.now + DISK_PAUSE;
        self.reports.save(self.now);
        while self.reports.has_to_save() {
            self.reports.save(self.now);
        }
        if !self.reports.unmarked {
            self.model.published_before = self.model.published.clone();
        }
        let before = waiting(&self.reports);
        while self.reports.may_hand() {
            let mut given = None;
            self.reports.hand(self.now, |line| given = Some(number(line)));
            let given = given.unwrap();
            assert!(self.model.given.last().is_none_or(|last| *last < given), "{given} is late");
            assert!(before.contains(&given), "{given} does not wait");
            self.model.given.push(given);
        }
        self.reports.release();
        assert!(self.model.given.len() <= limits().window);
    }

    fn done(&mut self, share: u8) {
        let count = self.model.given.len() * usize::from(share) / 255;
        let Some(through) = count.checked_sub(1).map(|at| self.model.given[at]) else { return };
        assert!(self.reports.done(through));
        self.model.published.extend(self.model.given.drain(..count));
    }

    fn tell(&mut self) {
        if let Some(dropped) = self.reports.tell_dropped(self.now) {
            let number = self.push(worker(0));
            self.model.telling.insert(number, dropped.events);
        }
    }

    fn agent_dies(&mut self) {
        self.reports.take_back();
        self.model.given.clear();
    }

    /// The next run finds what was saved, and what was not is gone.
    fn worker_dies(&mut self) {
        let saved: BTreeSet<u64> = self.reports.lanes.iter().flat_map(Lane::saved).collect();
        let unmarked = self.reports.unmarked;
        let unwritten: usize = self.reports.lanes.iter().map(Lane::unwritten).sum();
        let limbo: Vec<u64> = self.reports.limbo.iter().map(|head| head.number).collect();
        let marks = self.reports.files.marks().unwrap();
        self.reports = Reports::open_with(self.directory.path(), limits());
        self.model.given.clear();
        let found = waiting(&self.reports);
        if unmarked {
            // What was dropped, or published, since may be there again. It may take the room of
            // others, and then those are counted.
            let missing = saved.difference(&found).count() as u64;
            let before = marks.map_or(0, |marks| marks.dropped.told().events);
            let dropped = self.reports.dropped.told().events - before;
            assert!(missing <= dropped, "{found:?} of {saved:?}, {dropped} dropped");
        } else {
            assert_eq!(found, saved);
            assert!(limbo.iter().all(|number| !found.contains(number)));
        }
        let known = self.model.published_before.clone();
        let again: Vec<u64> = found.intersection(&self.model.published).copied().collect();
        assert!(again.iter().all(|number| !known.contains(number)), "{again:?} are marked");
        // Nobody can count what no disk knows of.
        self.model.published.retain(|number| !found.contains(number));
        if unmarked || unwritten > 0 {
            let told = self.reports.told.iter().map(|(number, t)| (*number, t.told().events));
            let telling: BTreeMap<u64, u64> = told.collect();
            let counted = self.reports.dropped.told().events + telling.values().sum::<u64>();
            self.model = Model { all: found, telling, counted, ..Model::default() };
        }
    }

    /// Each report is published, or waits, or is counted, or will be if this agent dies.
    fn check(&self) {
        let (reports, model) = (&self.reports, &self.model);
        let waiting = waiting(reports);
        assert!(waiting.is_disjoint(&model.published));
        let told = reports.told.as_ref().map_or(0, |(_, tally)| tally.told().events);
        let published = model.telling.iter().filter(|(number, _)| model.published.contains(number));
        let told_before: u64 = published.map(|(_, events)| *events).sum();
        let counted = reports.dropped.told().events + told + told_before;
        let sum = model.published.len() + waiting.len() + reports.limbo.len();
        let all = model.all.len() as u64 + model.counted;
        let limbo: Vec<u64> = reports.limbo.iter().map(|head| head.number).collect();
        let told_now = reports.told.as_ref().map(|(number, t)| (*number, t.told().events));
        assert_eq!(
            sum as u64 + counted,
            all,
            "published {:?}, {waiting:?} wait, limbo {limbo:?}, told {told_now:?}, telling {:?}, \
             {} dropped, given {:?}",
            model.published,
            model.telling,
            reports.dropped.told().events,
            model.given,
        );
        assert!(waiting.len() <= limits().count);
        let bytes: usize = reports.lanes.iter().map(Lane::bytes).sum();
        assert!(bytes <= limits().bytes || waiting.len() == 1, "{bytes}");
        assert_eq!(reports.window.0, model.given.len());
    }
}

fn play(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let reports = Reports::open_with(directory.path(), limits());
    let mut stage = Stage { directory, reports, model: Model::default(), now: NOW };
    for (second, step) in steps.into_iter().enumerate() {
        let second = second as u64;
        match step {
            Step::State => drop(stage.push(worker(second))),
            Step::Output(bytes) => drop(stage.push(output(second, bytes))),
            Step::Turn => stage.turn(),
            Step::Done(share) => stage.done(share),
            Step::AgentDies => stage.agent_dies(),
            Step::WorkerDies => stage.worker_dies(),
            Step::DiskFills => stage.reports.lanes.iter_mut().for_each(Lane::fill),
            Step::DiskMends => stage.reports.lanes.iter_mut().for_each(Lane::mend),
            Step::Told => stage.tell(),
        }
        stage.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whatever_happens_every_report_is_accounted_for(
        steps in prop::collection::vec(step(), 1..300)
    ) {
        play(steps);
    }
}
