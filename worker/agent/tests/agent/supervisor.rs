//! A supervisor that is played by the test: it answers pings, unless it is told to be frozen.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsbus_client::ConnectOptions;
use dsbus_schema::ids::Incarnation;
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::worker::{Capacity, Labels};
use dsbus_supervisor::protocol::{Child, Hello, Order, Report, ToAgent, ToSupervisor};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::fleet::{Fleet, worker};

/// An election among the servers takes up to 9 s; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The played supervisor of one agent.
pub(crate) struct Supervisor {
    say: mpsc::UnboundedSender<ToAgent>,
    heard: mpsc::UnboundedReceiver<ToSupervisor>,
    frozen: Arc<AtomicBool>,
    pub(crate) agent: JoinHandle<Result<(), dsbus_agent::Error>>,
    socket: JoinHandle<()>,
}

pub(crate) fn hello(directory: &Path, incarnation: u128) -> Hello {
    Hello {
        worker: worker(),
        incarnation: Incarnation(Uuid::from_u128(incarnation)),
        generation: 1,
        started: Timestamp::from_unix_nanos(0),
        supervisor_pid: 42,
        directory: directory.to_str().unwrap().to_owned(),
        stopping: false,
        draining: false,
        children: Vec::new(),
        facilities: Vec::new(),
        policy: None,
        labels: Labels::new(),
        capacity: Capacity::default(),
        seal_key: None,
        leases: Vec::new(),
        held: 0,
        memory: None,
    }
}

impl Supervisor {
    /// Starts an agent, and says hello.
    pub(crate) fn start(fleet: &Fleet, hello: Hello) -> Supervisor {
        Supervisor::start_on(fleet.options(), hello)
    }

    /// The same, on a bus of any kind.
    pub(crate) fn start_on(connect: ConnectOptions, hello: Hello) -> Supervisor {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (read, mut write) = UnixStream::from_std(ours).unwrap().into_split();
        let (say, mut said) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::unbounded_channel();
        let frozen = Arc::new(AtomicBool::new(false));
        say.send(ToAgent::Hello(hello)).unwrap();
        tokio::spawn(listen(read, say.downgrade(), hear, frozen.clone()));
        let socket = tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                let mut line = serde_json::to_vec(&message).unwrap();
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        let socket_of_agent: OwnedFd = theirs.into();
        let config = dsbus_agent::Config { connect, socket: socket_of_agent, signers: None };
        let agent = tokio::spawn(dsbus_agent::run(config));
        Supervisor { say, heard, frozen, agent, socket }
    }

    pub(crate) fn say(&self, message: ToAgent) {
        self.say.send(message).unwrap();
    }

    pub(crate) fn report(&self, report: Report) {
        self.say(ToAgent::Report(report));
    }

    pub(crate) fn child(&self, child: &Child) {
        self.say(ToAgent::Child(child.clone()));
    }

    /// From now on it answers no ping.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Dies: its end of the socket closes.
    pub(crate) async fn die(self) -> Result<(), dsbus_agent::Error> {
        drop(self.say);
        self.socket.abort();
        drop(self.heard);
        self.agent.await.unwrap()
    }

    /// Waits for something the agent says; what it says before is passed over.
    pub(crate) async fn hear<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(ToSupervisor) -> Option<T>,
    ) -> T {
        let hearing = async {
            loop {
                match self.heard.recv().await {
                    Some(message) => {
                        if let Some(picked) = pick(message) {
                            return picked;
                        }
                    }
                    None => panic!("the agent ended before {what}"),
                }
            }
        };
        let Ok(picked) = tokio::time::timeout(PATIENCE, hearing).await else {
            panic!("waited {PATIENCE:?} for {what}")
        };
        picked
    }

    pub(crate) async fn sync(&mut self) -> Vec<Order> {
        let pick = |message| match message {
            ToSupervisor::Sync { orders, .. } => Some(orders),
            // Nothing may be ordered before.
            ToSupervisor::Place { .. } | ToSupervisor::Lease { .. } => panic!("{message:?}"),
            _ => None,
        };
        self.hear("a sync", pick).await
    }

    /// Waits until the lease of so many seconds is extended beyond `beyond`.
    pub(crate) async fn extended(&mut self, of: u64, beyond: BootTime) -> BootTime {
        let pick = |message| match message {
            ToSupervisor::Lease { seconds, until } if seconds == of && until > beyond => {
                Some(until)
            }
            _ => None,
        };
        self.hear("a lease", pick).await
    }

    /// Waits until the bus has all reports up to this number.
    pub(crate) async fn done(&mut self, number: u64) {
        let pick = |message| match message {
            ToSupervisor::Done { through } => (through >= number).then_some(()),
            _ => None,
        };
        self.hear("the reports", pick).await;
    }
}

async fn listen(
    read: OwnedReadHalf,
    say: mpsc::WeakUnboundedSender<ToAgent>,
    hear: mpsc::UnboundedSender<ToSupervisor>,
    frozen: Arc<AtomicBool>,
) {
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message: ToSupervisor = serde_json::from_str(&line).unwrap();
        if let (ToSupervisor::Ping { number }, Some(say), false) =
            (&message, say.upgrade(), frozen.load(Ordering::SeqCst))
        {
            // The agent may be gone.
            drop(say.send(ToAgent::Pong { number: *number }));
        }
        if hear.send(message).is_err() {
            return;
        }
    }
}
