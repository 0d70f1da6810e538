//! Delivering: one task for each target, so that none waits for another.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::alert::{Letter, TargetName};
use dsbus_schema::lenient::Span;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::core::LETTERS_MAX;
use crate::queue::{Next, Queue};
use crate::send::{Fate, Sender};
use crate::{backoff, clock};

/// Letters that may be given to one recipient of a target at once: those that wait, and as many that
/// people try again by hand.
const GIVEN_MAX: usize = 2 * LETTERS_MAX;
/// Outcomes that are not written yet; then no further letter is tried, since what became of it
/// could not be kept either.
const OUTCOMES_MAX: usize = 64;

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It arrived.
    Delivered(Uuid),
    /// A try failed; there will be another one.
    Failed(Uuid, String),
    /// It is given up.
    Died(Uuid, String),
}

/// Whether a try may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    /// Until the lease runs out: who was frozen meanwhile must not tell what another one tells.
    Until(Instant),
    /// No more.
    Stop,
}

/// All targets.
#[derive(Debug)]
pub(crate) struct Posts {
    lines: BTreeMap<TargetName, mpsc::Sender<(Uuid, Letter)>>,
    outcomes: mpsc::Receiver<Outcome>,
    permit: watch::Sender<Permit>,
    // Dropping it ends the tasks, and the tries that are under way.
    tasks: JoinSet<()>,
}

impl Posts {
    /// Begins to deliver to these, until `until` or what [`Posts::allow`] says later. Must be called on
    /// a tokio runtime.
    pub(crate) fn start(senders: &[Sender], until: Instant) -> Posts {
        let (told, outcomes) = mpsc::channel(OUTCOMES_MAX);
        let permit = watch::Sender::new(Permit::Until(until));
        let (mut lines, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for sender in senders {
            let (line, letters) = mpsc::channel(GIVEN_MAX * sender.target().recipients().len());
            lines.insert(sender.target().name.clone(), line);
            let line = Line { sender: sender.clone(), letters, outcomes: told.clone() };
            tasks.spawn(line.run(permit.subscribe()));
        }
        Posts { lines, outcomes, permit, tasks }
    }

    /// Tries may begin until then.
    pub(crate) fn allow(&self, until: Instant) {
        self.permit.send_replace(Permit::Until(until));
    }

    /// Takes a letter.
    ///
    /// # Errors
    /// Why it cannot be taken: it is to be given up.
    pub(crate) fn give(&self, id: Uuid, letter: Letter) -> Result<(), String> {
        let Some(line) = self.lines.get(&letter.target) else {
            return Err(format!("the file has no target {}", letter.target));
        };
        line.try_send((id, letter))
            .map_err(|_| format!("{GIVEN_MAX} letters were given to this target at once"))
    }

    /// What became of the next letter. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Outcome {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            // There is no target.
            None => std::future::pending().await,
        }
    }

    /// What became of another letter, if that is known already.
    pub(crate) fn next_here(&mut self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// Begins no further try, and waits for those that are under way, but not for longer than
    /// `within`; what became of them.
    pub(crate) async fn stop(mut self, within: Duration) -> Vec<Outcome> {
        self.permit.send_replace(Permit::Stop);
        let mut outcomes = Vec::new();
        let all = async {
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => if ended.is_none() { break },
                    Some(outcome) = self.outcomes.recv() => outcomes.push(outcome),
                }
            }
        };
        // A try that takes longer is made again by whoever goes on.
        drop(tokio::time::timeout(within, all).await);
        while let Ok(outcome) = self.outcomes.try_recv() {
            outcomes.push(outcome);
        }
        outcomes
    }
}

/// One target.
struct Line {
    sender: Sender,
    letters: mpsc::Receiver<(Uuid, Letter)>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Line {
    async fn run(mut self, mut permit: watch::Receiver<Permit>) {
        let mut queue = Queue::default();
        loop {
            let now = Instant::now();
            let allowed = match *permit.borrow_and_update() {
                Permit::Stop => return,
                Permit::Until(until) => now < until,
            };
            while let Ok((id, letter)) = self.letters.try_recv() {
                queue.push(id, letter, now);
            }
            let wait = match queue.next(now) {
                Next::Try(id) if allowed => {
                    if self.attempt(&mut queue, id).await.is_none() {
                        return;
                    }
                    continue;
                }
                Next::At(at) => Some(at),
                // Being allowed again is a change.
                Next::Try(_) | Next::Nothing => None,
            };
            tokio::select! {
                given = self.letters.recv() => match given {
                    Some((id, letter)) => queue.push(id, letter, Instant::now()),
                    None => return,
                },
                () = until(wait) => {}
                changed = permit.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Tries a letter once; `None` when nobody wants to know what became of it.
    async fn attempt(&self, queue: &mut Queue, id: Uuid) -> Option<()> {
        let letter = queue.get(id)?.clone();
        let target = self.sender.target();
        let retry_for = target.retry_for;
        let fate = self.sender.send(&letter, clock::wall()).await;
        let (rule, name, tries) = (&letter.news.rule, &target.name, letter.tries + 1);
        let outcome = match fate {
            Fate::Delivered => {
                tracing::info!(%rule, target = %name, tries, "told");
                queue.remove(id);
                Outcome::Delivered(id)
            }
            Fate::Never { why } => {
                queue.remove(id);
                Outcome::Died(id, why)
            }
            Fate::Later { why, after } => {
                let wait = backoff::wait(tries, after, fastrand::f64());
                // From the moment it was posted, wherever that was.
                let age = clock::wall().since(letter.posted);
                if age + wait > retry_for {
                    queue.remove(id);
                    let within = Span(retry_for);
                    let end = format!("given up at try {tries}: the next is after {within}");
                    Outcome::Died(id, format!("{why} ({end})"))
                } else {
                    let shown = Span(Duration::from_secs(wait.as_secs() + 1));
                    tracing::warn!(%rule, target = %name, tries, "not told: {why}; again in {shown}");
                    queue.failed(id, &why, Instant::now() + wait);
                    Outcome::Failed(id, why)
                }
            }
        };
        self.outcomes.send(outcome).await.ok()
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
