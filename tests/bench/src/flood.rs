//! Whether one child that floods its log delays the restart of another.

use std::time::Duration;

use crate::births::{Births, Born};
use crate::clock::{millis, now, rest};
use crate::fleet::{self, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::{Outcome, Setting, float, floor, proc};

/// Children that take turns; see `restart`.
const CHILDREN: usize = 12;
const REST: Duration = Duration::from_millis(110);
/// Restarts in a row, with the flood and without it.
const BLOCK: usize = 25;
const BLOCKS: usize = 4;
/// By which the flood may delay the slowest.
const GOAL_MS: f64 = 10.0;
/// Less than this is no flood, and nothing was measured.
const FLOOD_MIB_PER_SECOND: f64 = 20.0;

struct Stage {
    births: Births,
    fleet: Fleet,
    victims: Vec<Born>,
    turn: usize,
}

impl Stage {
    fn block(&mut self, count: usize) -> Outcome<Vec<f64>> {
        (0..count).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> Outcome<f64> {
        rest(REST);
        self.turn = (self.turn + 1) % CHILDREN;
        let begun = now();
        floor::shoot(self.victims[self.turn].pid)?;
        let born = self.births.next("victim")?;
        self.victims[self.turn] = born;
        Ok(millis(born.at.since(begun)))
    }

    /// The same while the flood runs; and how much it wrote, in MiB/s.
    fn flooded(&mut self, count: usize) -> Outcome<(Vec<f64>, f64)> {
        self.fleet.run(&["start", "--no-wait", "flood"])?;
        let flood = self.births.next("flood")?;
        rest(Duration::from_secs(1));
        let (before, begun) = (proc::written(flood.pid)?, now());
        let times = self.block(count)?;
        let bytes = proc::written(flood.pid)? - before;
        let seconds = now().since(begun).as_secs_f64();
        self.fleet.run(&["stop", "flood"])?;
        let mib = usize::try_from(bytes / (1024 * 1024))?;
        let rate = float(mib) / seconds;
        if rate < FLOOD_MIB_PER_SECOND {
            return Err(format!("the flood was a trickle of {rate:.0} MiB/s").into());
        }
        Ok((times, rate))
    }
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let victims = format!("numprocs = {CHILDREN}");
    let flood = births.command("flood", &["yes", "a line of a program that has gone mad"]);
    fleet.apply(
        &(fleet::program("victim", &births.command("victim", &[]), &victims)
            + &fleet::program("flood", &flood, "autostart = false")),
    )?;
    let victims = births.take("victim", CHILDREN)?;
    let mut stage = Stage { births, fleet, victims, turn: 0 };
    rest(Duration::from_secs(1));
    let (mut calm, mut flooded, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let block = setting.rounds(BLOCK, 5);
    for _ in 0..setting.rounds(BLOCKS, 1) {
        calm.extend(stage.block(block)?);
        let (times, rate) = stage.flooded(block)?;
        flooded.extend(times);
        rates.push(rate);
    }
    let mut report = Report::default();
    let calm = report.row(Who::Ours, "kill -9 to the new child, calm", "ms", calm);
    let flooded = report.row(Who::Ours, "kill -9 to the new child, flooded", "ms", flooded);
    report.row(Who::Ours, "what the flood wrote", "MiB/s", rates);
    let added = |of: fn(&Samples) -> f64| Some(of(flooded.as_ref()?) - of(calm.as_ref()?));
    for (what, added, limit) in [
        ("ms more with the flood, p50", added(Samples::median), None),
        ("ms more with the flood, p99", added(|s| s.percentile(99)), Some(Limit::AtMost(GOAL_MS))),
        ("ms more with the flood, max", added(|s| s.percentile(100)), None),
    ] {
        match added {
            Some(added) => report.goal(what, added, limit),
            None => report.missing.push(what.to_owned()),
        }
    }
    Ok(report)
}
