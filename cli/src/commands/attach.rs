//! `dsbus attach NAME`

use std::io::{self, IsTerminal};
use std::time::Duration;

use dsbus_schema::call::Channel;
use dsbus_schema::event::{Fact, ProcessFact};
use dsbus_schema::ids::{Epoch, InstanceId, Target, WorkerName};
use dsbus_schema::status::InstanceRow;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

use super::hands::{self, Child, Feeder, Unwritten};
use super::logs::{Begin, Live, event, watch_one};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{args, describe, output};

/// How often the schedulers are asked where the instance is, in case an event was missed.
const LOCATE_EVERY: Duration = Duration::from_secs(5);

/// How our standard input came to its end.
#[derive(Debug)]
enum Fed {
    /// It is a terminal, and Ctrl-D was pressed: that detaches.
    Left,
    /// Only the output is left to be shown.
    Shown,
}

/// Shows both outputs of an instance as they come, and gives it our standard input, until Ctrl-C.
///
/// # Errors
/// When the name means none or several, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Attach) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let name = hands::one(&connection, &args.name).await?.name;
    // Whatever else the name that was given means later.
    let target = Target::Instance(name.clone());
    let mut watch = watch_one(&connection.bus, &name).await;
    // What happened since then is told by the watch.
    let row = hands::one(&connection, &target).await?;
    let begin = match &row.worker {
        Some(worker) => Begin::LastLines(args.lines, row.epoch, worker.clone()),
        None => Begin::FirstWord,
    };
    let mut live = Live::begin(&connection.bus, &name, &channels(&row), &begin);
    if row.worker.is_some() {
        live.begun().await;
    }
    tell(&row, args.eof);
    let mut seen = Seen::new(&row);
    let child = watch::Sender::new(seen.child.clone());
    let (say, mut said) = mpsc::channel(1);
    let (bus, eof) = (connection.bus.clone(), args.eof);
    let feeding = Feeding { bus, child: child.subscribe(), eof };
    tokio::spawn(async move {
        // Whoever waits for it may have gone.
        let _ = say.send(feeding.run().await).await;
    });
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut locate = interval(LOCATE_EVERY);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(detached(&name)),
            Some(Fed::Left) = said.recv() => return Ok(detached(&name)),
            broken = live.broken() => return broken.map(|()| Code::Done).map_err(Failure::from),
            item = watch.next() => {
                let Some(event) = event(&item) else { continue };
                if let Some((epoch, worker)) = stay(&event.data) {
                    live.hear(epoch, &worker);
                }
                if let Fact::Process(fact) = event.data {
                    seen.hear(fact);
                }
            }
            _ = locate.tick() => match hands::one(&connection, &target).await {
                Ok(row) => {
                    if let Some(worker) = &row.worker {
                        live.hear(row.epoch, worker);
                    }
                    seen.look(&row);
                }
                Err(failure) if failure.code == Code::Failed => return Err(failure),
                // The output comes from workers: it goes on without schedulers.
                Err(_) => {}
            },
        }
        let now = &seen.child;
        child.send_if_modified(|known| std::mem::replace(known, now.clone()) != *now);
    }
}

/// The child that there is, as far as it is known. Pure.
#[derive(Debug)]
struct Seen {
    epoch: Epoch,
    child: Option<Child>,
    /// Another one, which only a row told of: it may be older than the last event.
    doubted: Option<Child>,
}

impl Seen {
    fn new(row: &InstanceRow) -> Seen {
        Seen { epoch: row.epoch, child: Child::of(row), doubted: None }
    }

    fn hear(&mut self, fact: ProcessFact) {
        // What is told late of an earlier stay is over.
        if fact.worker.is_some() && fact.epoch < self.epoch {
            return;
        }
        self.epoch = self.epoch.max(fact.epoch);
        let ProcessFact { name, worker, epoch, pid, state, .. } = fact;
        let worker = worker.filter(|_| state.may_have_child());
        self.child = worker.zip(pid).map(|(worker, pid)| Child { name, worker, epoch, pid });
        self.doubted = None;
    }

    /// Events are hints, and may be lost. What is told twice of the same stay, and of which no event told
    /// otherwise meanwhile, is so.
    fn look(&mut self, row: &InstanceRow) {
        if row.worker.is_none() || row.epoch < self.epoch {
            return;
        }
        let told = Child::of(row);
        if row.epoch > self.epoch {
            *self = Seen { epoch: row.epoch, child: told, doubted: None };
        } else if told.is_some() && told != self.child {
            if self.doubted == told {
                self.child.clone_from(&told);
            }
            self.doubted = told;
        } else {
            self.doubted = None;
        }
    }
}

/// Says once what it is attached to, and how to get away.
fn tell(row: &InstanceRow, eof: bool) {
    let (name, place) = (&row.name, describe::place(row));
    let ends = if eof { "Ctrl-D closes its input" } else { "so does Ctrl-D" };
    match row.pid {
        Some(_) => {
            output::note(format_args!(
                "-- attached to {name} ({place}); Ctrl-C detaches, {ends} --"
            ));
        }
        None => output::note(format_args!(
            "-- attached to {name} ({}); Ctrl-C detaches --",
            describe::state(row)
        )),
    }
}

fn detached(name: &InstanceId) -> Code {
    output::note_below(format_args!("detached; {name} goes on"));
    Code::Done
}

/// The outputs that it has: what is written to where standard output goes is shown once.
fn channels(row: &InstanceRow) -> Vec<Channel> {
    match (&row.stdout_logfile, &row.stderr_logfile) {
        (Some(out), Some(err)) if out == err => vec![Channel::Stdout],
        (_, None) if row.pid.is_some() => vec![Channel::Stdout],
        _ => vec![Channel::Stdout, Channel::Stderr],
    }
}

/// Where an instance is, as an event tells it.
fn stay(fact: &Fact) -> Option<(Epoch, WorkerName)> {
    match fact {
        Fact::Process(fact) => Some((fact.epoch, fact.worker.clone()?)),
        Fact::Placement(fact) => Some((fact.epoch, fact.to.clone()?)),
        _ => None,
    }
}

/// Gives our standard input to whatever child there is.
struct Feeding {
    bus: dsbus_client::Bus,
    child: watch::Receiver<Option<Child>>,
    eof: bool,
}

impl Feeding {
    async fn run(mut self) -> Fed {
        let Some(mut feeder) = self.next(None).await else { return Fed::Shown };
        let known = feeder.child.clone();
        let mut news = self.child.clone();
        // One that does not answer is not waited for when there is another one.
        let asked = tokio::select! {
            asked = feeder.feed(&self.bus, &[], false) => asked,
            _ = news.wait_for(|child| child.as_ref().is_some_and(|child| *child != known)) => Ok(false),
        };
        if let Err(Unwritten::Refused(why)) = asked {
            output::note(format_args!("-- only its output is shown: {why} --"));
            return self.only_watched().await;
        }
        let mut pieces = hands::pieces();
        while let Some(piece) = pieces.recv().await {
            let Ok(piece) = piece else { break };
            if let Err(fed) = self.give(&mut feeder, &piece, false).await {
                return fed;
            }
        }
        match self.eof {
            false if io::stdin().is_terminal() => Fed::Left,
            false => Fed::Shown,
            true => {
                let closed = self.give(&mut feeder, &[], true).await;
                closed.err().unwrap_or(Fed::Shown)
            }
        }
    }

    /// Without an input, only the end of ours matters, and only to a person.
    async fn only_watched(&self) -> Fed {
        if !io::stdin().is_terminal() {
            return Fed::Shown;
        }
        let mut pieces = hands::pieces();
        while let Some(Ok(_)) = pieces.recv().await {}
        Fed::Left
    }

    /// The child that there is, once it is another than this.
    async fn next(&mut self, than: Option<&Child>) -> Option<Feeder> {
        let is = |child: &Option<Child>| child.is_some() && child.as_ref() != than;
        let child = self.child.wait_for(is).await.ok()?.clone()?;
        Some(Feeder::new(child, None))
    }

    /// Gives a piece to the child that there is. One that ended before it took any of it leaves it to its
    /// successor; the rest of what it took a part of is for nobody: it may be half a line. So is what it
    /// may have taken, which nobody said: it would be acted on twice.
    async fn give(&mut self, feeder: &mut Feeder, piece: &[u8], eof: bool) -> Result<(), Fed> {
        loop {
            let before = feeder.written;
            let known = feeder.child.clone();
            let mut news = self.child.clone();
            let another =
                |child: &Option<Child>| child.as_ref().is_some_and(|child| *child != known);
            let fed = tokio::select! {
                // Where there is another one already, this one is not asked.
                biased;
                _ = news.wait_for(another) => Err(Unwritten::Gone(String::new())),
                fed = feeder.feed(&self.bus, piece, eof) => fed,
            };
            match fed {
                Ok(_) => return Ok(()),
                Err(Unwritten::Refused(why)) => {
                    output::note(format_args!("-- from now on only its output is shown: {why} --"));
                    return Err(self.only_watched().await);
                }
                Err(Unwritten::Gone(_) | Unwritten::Silent(_)) => {}
            }
            let taken = feeder.written - before;
            let in_doubt = feeder.in_doubt();
            *feeder = self.next(Some(&known)).await.ok_or(Fed::Shown)?;
            if taken > 0 || in_doubt {
                let lost = (piece.len() as u64).saturating_sub(taken);
                let (pid, perhaps) = (known.pid, if in_doubt { "perhaps " } else { "" });
                output::note(format_args!(
                    "-- process {pid} ended {perhaps}before it took {lost} bytes --"
                ));
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `w1 7 50`: worker, epoch, and the process, if there is one.
    fn row(text: &str) -> InstanceRow {
        let words: Vec<&str> = text.split(' ').collect();
        let worker = (words[0] != "-").then_some(words[0]);
        let epoch: u64 = words[1].parse().unwrap();
        let pid: Option<i32> = words.get(2).map(|pid| pid.parse().unwrap());
        let wanted = json!({"run": true});
        serde_json::from_value(json!({
            "name": "web:0", "id": uuid::Uuid::nil(), "program": "web", "index": 0,
            "state": "RUNNING", "statecode": 20, "worker": worker, "pid": pid, "epoch": epoch,
            "revision": 1, "restarts": 0, "wanted": wanted, "acted": wanted, "ok": true,
        }))
        .unwrap()
    }

    fn fact(state: &str, text: &str) -> ProcessFact {
        let row = row(text);
        serde_json::from_value(json!({
            "name": row.name, "id": row.id, "worker": row.worker, "epoch": row.epoch, "seq": 1,
            "revision": 1, "from": "STOPPED", "state": state, "pid": row.pid,
        }))
        .unwrap()
    }

    fn pid(seen: &Seen) -> Option<i32> {
        seen.child.as_ref().map(|child| child.pid)
    }

    #[test]
    fn what_an_earlier_worker_tells_late_does_not_count() {
        let mut seen = Seen::new(&row("w1 7 50"));
        seen.hear(fact("STARTING", "w2 9 60"));
        seen.hear(fact("STOPPED", "w1 7"));
        seen.hear(fact("RUNNING", "w1 7 50"));
        seen.look(&row("w1 7 50"));
        assert_eq!(pid(&seen), Some(60));
        seen.hear(fact("EXITED", "w2 9"));
        assert_eq!(pid(&seen), None);
    }

    #[test]
    fn a_child_of_which_no_event_told_is_found() {
        let mut seen = Seen::new(&row("w1 7 50"));
        seen.look(&row("w2 9 60"));
        assert_eq!(pid(&seen), Some(60), "elsewhere");
        seen.hear(fact("EXITED", "w2 9"));
        seen.look(&row("w2 9 60"));
        assert_eq!(pid(&seen), None, "the row may be older");
        seen.look(&row("w2 9 61"));
        seen.look(&row("w2 9 61"));
        assert_eq!(pid(&seen), Some(61));
        seen.look(&row("- 0"));
        assert_eq!(pid(&seen), Some(61));
    }
}
