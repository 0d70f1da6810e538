//! The random run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::clients::{Clients, Ledger};
use crate::clock::{SECOND, millis, now, rest};
use crate::ear::{Ear, Heard};
use crate::fleet::{DEADLINE, Fleet, Size};
use crate::inject::{Done, Ill, inject};
use crate::kind::Kind;
use crate::lives::{self, Life};
use crate::plan::{Planned, Round, Theme, rounds};
use crate::say::say;
use crate::{Outcome, calm, programs};

/// How large the fleet is.
pub(crate) const SIZE: Size = Size { nats: 3, schedulers: 3, workers: 4 };
/// How many people command.
const CLIENTS: usize = 4;
/// Between two commands of one of them, about.
const PAUSE: Duration = Duration::from_millis(700);
/// Everything must be as wanted so long after the last fault, on a machine busy with others.
const CALM_MAX: Duration = Duration::from_secs(150);

/// What is run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) faults: usize,
    pub(crate) alone: usize,
    pub(crate) minutes: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) kinds: Vec<&'static Kind>,
    /// How long each fault lasts, instead of what the seed says.
    pub(crate) hold: Option<Duration>,
    /// Exclusive programs are declared as ordinary ones: the judge must find that.
    pub(crate) unfenced: bool,
}

/// All that was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) faults: Vec<Done>,
    /// For each fault that was alone: until when what it did could be seen.
    pub(crate) settled: Vec<(Done, u64)>,
    pub(crate) lives: Vec<Life>,
    pub(crate) heard: Heard,
    pub(crate) ledgers: Vec<Ledger>,
    /// Acknowledged commands that were lost.
    pub(crate) lost_commands: Vec<String>,
    /// Last sequence of each instance and epoch, as its status tells.
    pub(crate) last: BTreeMap<(String, u64), u64>,
    /// What was not as wanted after a round.
    pub(crate) not_calm: Vec<String>,
    pub(crate) calm_millis: Vec<u64>,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) directory: PathBuf,
}

/// Runs, and says what was seen.
pub(crate) async fn run(fleet: &Arc<Fleet>, options: &Options) -> Outcome<Seen> {
    let bus = fleet.bus("chaos").await?;
    let declared = programs::declared(&fleet.directory, CLIENTS, options.unfenced)?;
    programs::apply(&bus, Uuid::now_v7(), declared).await?;
    calm::settled(fleet, &bus, CALM_MAX).await?;
    let ear = Ear::listen(&fleet.urls()).await?;
    let mut buses = Vec::new();
    for number in 1..=CLIENTS {
        buses.push(fleet.bus(&format!("chaos client {number}")).await?);
    }
    let clients = Clients::begin(buses, &fleet.directory, options.seed, PAUSE);
    let from = now();
    let mut course = Course {
        fleet: Arc::clone(fleet),
        ill: Arc::new(Ill::default()),
        bus,
        faults: Vec::new(),
        settled: Vec::new(),
        lost_commands: Vec::new(),
        calm_millis: Vec::new(),
        last: BTreeMap::new(),
        end: options.minutes.map(|minutes| from + minutes * 60 * SECOND),
    };
    let mut plan = rounds(options.seed, options.faults, options.alone, &options.kinds);
    if let Some(hold) = options.hold {
        plan.iter_mut().flat_map(|round| &mut round.faults).for_each(|fault| fault.hold = hold);
    }
    let mut not_calm: Vec<String> = course.play(plan, &clients).await.into_iter().collect();
    clients.end();
    let until = now();
    if let Err(why) = ear.catch_up(DEADLINE).await {
        not_calm.push(why.to_string());
    }
    Ok(Seen {
        faults: course.faults,
        settled: course.settled,
        lives: lives::read(&fleet.directory)?,
        heard: ear.heard(),
        ledgers: clients.ledgers(),
        lost_commands: course.lost_commands,
        last: course.last,
        not_calm,
        calm_millis: course.calm_millis,
        from,
        until,
        directory: fleet.directory.clone(),
    })
}

struct Course {
    fleet: Arc<Fleet>,
    ill: Arc<Ill>,
    bus: dsbus_client::Bus,
    faults: Vec<Done>,
    settled: Vec<(Done, u64)>,
    lost_commands: Vec<String>,
    calm_millis: Vec<u64>,
    last: BTreeMap<(String, u64), u64>,
    end: Option<u64>,
}

impl Course {
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| now() > end)
    }

    /// Plays all rounds, or those until something is wrong: what was not calm.
    async fn play(&mut self, plan: Vec<Round>, clients: &Clients) -> Option<String> {
        let total = plan.len();
        for (index, round) in plan.into_iter().enumerate() {
            if self.is_over() {
                return None;
            }
            let (number, theme) = (index + 1, round.theme);
            let passed = match self.round(round).await {
                Ok(()) => self.calm(clients).await,
                Err(why) => Err(why),
            };
            let (faults, lost) = (self.faults.len(), self.lost_commands.len());
            let calm = self.calm_millis.last().copied().unwrap_or(0);
            say(&format!(
                "round {number} of {total}, {theme:?}: {faults} faults so far; calm after {calm} ms"
            ));
            if let Err(why) = passed {
                say(&format!("NOT CALM: {why}"));
                return Some(format!("round {number}, {theme:?}: {why}"));
            }
            if lost > 0 {
                return None;
            }
        }
        None
    }

    async fn round(&mut self, round: Round) -> Outcome<()> {
        match round.theme {
            Theme::Alone => self.one_by_one(round.faults).await,
            Theme::Quiet | Theme::All => self.together(round.faults).await,
        }
    }

    async fn one_by_one(&mut self, faults: Vec<Planned>) -> Outcome<()> {
        for planned in faults {
            if self.is_over() {
                return Ok(());
            }
            if let Some(done) = inject(&self.fleet, &self.ill, &planned, true).await? {
                // What a fault does may begin only at a deadline after it.
                rest(Duration::from_secs(1)).await;
                calm::settled(&self.fleet, &self.bus, CALM_MAX)
                    .await
                    .map_err(|why| format!("after {done:?}: {why}"))?;
                // The last beat before the next fault is a moment before it, and not of this one.
                self.settled.push((done.clone(), now()));
                rest(Duration::from_millis(300)).await;
                self.faults.push(done);
            }
        }
        Ok(())
    }

    async fn together(&mut self, faults: Vec<Planned>) -> Outcome<()> {
        let mut under_way = JoinSet::new();
        for planned in faults {
            if self.is_over() {
                break;
            }
            let (fleet, ill) = (Arc::clone(&self.fleet), Arc::clone(&self.ill));
            let then = planned.then;
            under_way.spawn_local(async move {
                inject(&fleet, &ill, &planned, false).await.map_err(|e| e.to_string())
            });
            rest(then).await;
        }
        while let Some(done) = under_way.join_next().await {
            self.faults.extend(done??);
        }
        Ok(())
    }

    /// Waits until all is as wanted while nobody commands, and compares with what was acknowledged.
    async fn calm(&mut self, clients: &Clients) -> Outcome<()> {
        let begun = now();
        let all_answered = tokio::time::timeout(CALM_MAX, clients.gate.write()).await;
        let _nobody_commands = all_answered.map_err(|_| "commands are not answered")?;
        let answered = millis(begun, now());
        if answered > 5_000 {
            say(&format!("the last command was answered {answered} ms after the last fault"));
        }
        let ledgers = clients.ledgers();
        let rows = calm::wait(&self.fleet, &self.bus, &ledgers, CALM_MAX).await;
        self.calm_millis.push(millis(begun, now()));
        // What is not calm may be because of what was lost.
        if let Ok(rows) = crate::fleet::instances(&self.bus).await {
            self.lost_commands.extend(ledgers.iter().flat_map(|ledger| ledger.lost(&rows)));
        }
        for refused in ledgers.iter().flat_map(|ledger| &ledger.refused) {
            self.lost_commands.push(format!("refused: {refused}"));
        }
        let rows = rows?;
        let statuses = crate::statuses::read(&self.bus, &rows).await;
        self.last.extend(statuses);
        Ok(())
    }
}
