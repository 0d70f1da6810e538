//! People who command: each has a program of its own, and remembers what was acknowledged. What is
//! not answered is sent again with the same id, until it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Error};
use dsbus_schema::command::{Act, Acted, Envelope, Verb};
use dsbus_schema::ids::Target;
use dsbus_schema::status::InstanceRow;
use fastrand::Rng;
use tokio::sync::RwLock;
use uuid::Uuid;

use crate::clock::{now, rest};
use crate::programs;

/// After a command that was not answered.
const AGAIN: Duration = Duration::from_millis(100);
/// Most copies of a program that is scaled.
const COPIES_MAX: u32 = 3;

/// A command that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// When it was first sent.
    pub(crate) from: u64,
    /// When it was acknowledged.
    pub(crate) until: u64,
    /// How often it was sent.
    pub(crate) sent: u32,
}

/// What was acknowledged to a client.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) program: String,
    run: bool,
    starts: u64,
    restarts: u64,
    copies: u32,
    pub(crate) answered: Vec<Answered>,
    /// What was refused, which nothing of this should be.
    pub(crate) refused: Vec<String>,
}

/// All clients. A command is under way while [`Clients::gate`] is read; who writes it, waits.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) gate: Arc<RwLock<()>>,
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    bound: Vec<tokio::task::JoinHandle<()>>,
}

impl Clients {
    /// Begins to command.
    pub(crate) fn begin(
        buses: Vec<Bus>,
        directory: &std::path::Path,
        seed: u64,
        pause: Duration,
    ) -> Clients {
        let gate = Arc::new(RwLock::new(()));
        let mut clients = Clients { gate, ledgers: Vec::new(), bound: Vec::new() };
        for (index, bus) in buses.into_iter().enumerate() {
            let ledger = Arc::new(Mutex::new(Ledger {
                program: programs::client(index + 1),
                run: true,
                starts: 0,
                restarts: 0,
                copies: 2,
                answered: Vec::new(),
                refused: Vec::new(),
            }));
            clients.ledgers.push(Arc::clone(&ledger));
            let client = Client {
                bus,
                number: index + 1,
                gate: Arc::clone(&clients.gate),
                directory: directory.to_owned(),
                ledger,
                rng: Rng::with_seed(seed.wrapping_add(index as u64)),
                pause,
            };
            clients.bound.push(tokio::spawn(client.go()));
        }
        clients
    }

    /// What was acknowledged so far.
    pub(crate) fn ledgers(&self) -> Vec<Ledger> {
        let copy =
            |l: &Arc<Mutex<Ledger>>| l.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.ledgers.iter().map(copy).collect()
    }

    /// Ends them; call it while holding the gate.
    pub(crate) fn end(&self) {
        for one in &self.bound {
            one.abort();
        }
    }
}

impl Ledger {
    /// What was acknowledged and is not so, or is so more often: one line each.
    pub(crate) fn lost(&self, rows: &[InstanceRow]) -> Vec<String> {
        let mine: Vec<&InstanceRow> =
            rows.iter().filter(|row| row.program.as_str() == self.program).collect();
        let mut lost = Vec::new();
        if mine.len() != self.copies as usize {
            lost.push(format!(
                "{}: {} copies were acknowledged, there are {}",
                self.program,
                self.copies,
                mine.len()
            ));
        }
        for row in mine {
            let w = row.wanted;
            let is = (w.run, w.starts, w.restarts);
            let acknowledged = (self.run, self.starts, self.restarts);
            if is != acknowledged {
                lost.push(format!(
                    "{}: (run, starts, restarts) acknowledged {acknowledged:?}, wanted {is:?}",
                    row.name
                ));
            }
        }
        lost
    }

    /// Whether an instance of this program is to run.
    pub(crate) fn runs(&self) -> bool {
        self.run
    }

    /// How many copies it is to have.
    pub(crate) fn copies(&self) -> u32 {
        self.copies
    }
}

struct Client {
    bus: Bus,
    number: usize,
    gate: Arc<RwLock<()>>,
    directory: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
    rng: Rng,
    pause: Duration,
}

impl Client {
    async fn go(mut self) {
        loop {
            let gate = Arc::clone(&self.gate);
            let under_way = gate.read().await;
            self.once().await;
            drop(under_way);
            rest(self.pause.mul_f64(0.5 + self.rng.f64())).await;
        }
    }

    async fn once(&mut self) {
        let id = Uuid::now_v7();
        let verb = match self.rng.u32(0..100) {
            0..30 => Verb::Start,
            30..55 => Verb::Stop,
            55..85 => Verb::Restart,
            _ => Verb::Apply,
        };
        let copies = self.rng.u32(1..=COPIES_MAX);
        let from = now();
        let mut sent = 0;
        loop {
            sent += 1;
            match self.send(verb, id, copies).await {
                Ok(()) => break,
                Err(Error::Refused { code, text, .. }) if code != 503 && code != 409 => {
                    self.ledger(|ledger| ledger.refused.push(format!("{verb:?}: {code} {text}")));
                    return;
                }
                Err(Error::Timeout | Error::Disconnected) => {
                    // As a verb that a person types again: another connection.
                    self.bus.reconnect().await;
                    rest(AGAIN).await;
                }
                Err(_) => rest(AGAIN).await,
            }
        }
        let until = now();
        self.ledger(|ledger| {
            match verb {
                Verb::Start => (ledger.run, ledger.starts) = (true, ledger.starts + 1),
                Verb::Restart => (ledger.run, ledger.restarts) = (true, ledger.restarts + 1),
                Verb::Stop => ledger.run = false,
                _ => ledger.copies = copies,
            }
            ledger.answered.push(Answered { from, until, sent });
        });
    }

    async fn send(&self, verb: Verb, id: Uuid, copies: u32) -> Result<(), Error> {
        let program = self.ledger(|ledger| ledger.program.clone());
        if verb == Verb::Apply {
            let keys = programs::of_client(&self.directory, self.number, copies)
                .map_err(|_| Error::Disconnected)?;
            return programs::apply(&self.bus, id, vec![(program, keys)]).await.map(drop);
        }
        let Ok(target) = Target::parse(&program) else { return Err(Error::Disconnected) };
        let envelope = Envelope { id: Some(id), version: None };
        let act = Act::new(envelope, vec![target]);
        self.bus.command::<_, Acted>(verb, &act).await.map(drop)
    }

    fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
