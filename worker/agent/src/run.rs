//! The loop: whatever happens becomes a [`Wake`]; each is handled at once, without waiting.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dsbus_client::{ConnectOptions, Item, Served};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::protocol::{Hello, REPORTS_WINDOW, ToAgent, ToSupervisor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::bus_side::BusSide;
use crate::calls::Desk;
use crate::clock::{self, Timer};
use crate::counts::Counts;
use crate::deeds::Online;
use crate::drain::{self, Drain};
use crate::enforce::Guards;
use crate::errands::{self, Done};
use crate::facts::Watched;
use crate::facts::look::Fixed;
use crate::identity::Identity;
use crate::link::Link;
use crate::logs::Bulk;
use crate::pings::Pings;
use crate::probe::Prober;
use crate::publish::Publisher;
use crate::secrets::Secrets;
use crate::signers::SignersFile;
use crate::wishes::{Call, WISHES_MAX, Wishes};
use crate::{Config, Error};

/// Messages of the supervisor that are taken at once; deadlines are looked at after so many.
const SAID_AT_ONCE: usize = 256;

/// The supervisor is told of so many published reports at once while there are more: each time it
/// wakes up, notes it on disk, and gives more. Eight times so many may wait.
const DONE_AT_ONCE: u64 = REPORTS_WINDOW as u64 / 8;

/// Everything that can happen.
enum Wake {
    /// The supervisor said something.
    Said(ToAgent),
    /// The supervisor is gone.
    SupervisorGone,
    /// The timer expired.
    Due,
    /// An errand ended.
    Done(Done),
    /// The connection came or went.
    Connection,
    /// The watch delivered something.
    Watched(Item),
    /// The watch of secrets did.
    Secret(Item),
    /// Somebody asks whether we live.
    Asked,
    /// Somebody asks for what the supervisor does.
    Wish(Call),
}

/// The agent.
pub(crate) struct Agent {
    pub(crate) link: Link,
    pub(crate) guards: Guards,
    pub(crate) publisher: Publisher,
    pub(crate) errands: JoinSet<Done>,
    pub(crate) online: Option<Online>,
    pub(crate) side: BusSide,
    /// Whose placements are obeyed; everybody's, where there is none.
    pub(crate) signers: Option<SignersFile>,
    pub(crate) desk: Arc<Desk>,
    /// The supervisor had no children when this agent began.
    pub(crate) childless: bool,
    /// Something that the supervisor must hear, until it fits.
    pub(crate) last_word: Option<ToSupervisor>,
    pub(crate) served: Option<Served>,
    pub(crate) serving: Option<AbortHandle>,
    pub(crate) recording: Option<AbortHandle>,
    /// Statuses are to be written again, once the record is; the bus began anew, if so.
    pub(crate) statuses_lost: Option<bool>,
    pub(crate) drain: Drain,
    /// What has to leave before that is done.
    pub(crate) left_to_drain: BTreeSet<InstanceId>,
    /// The machine.
    pub(crate) watched: Watched,
    /// What the supervisor is told of secrets.
    pub(crate) secrets: Secrets,
    timer: Timer,
    pings: Pings,
    asked: mpsc::Receiver<()>,
    calls: mpsc::Receiver<Call>,
    wishes: Wishes,
    prober: Prober,
    /// The greatest number that the supervisor was told the bus has.
    done: u64,
    /// No report will follow; publish what there is, and end.
    leaving: bool,
    /// Before that, those who follow logs read them to their end: whether they have.
    pub(crate) followed: Option<bool>,
}

/// Runs the agent of a worker until its supervisor says [`ToAgent::Bye`] and everything is
/// published.
///
/// # Errors
/// When the supervisor is gone, or something fails that only another agent can make good.
pub async fn run(config: Config) -> Result<(), Error> {
    raise_descriptors();
    let system = |what| move |why| Error::System { what, why };
    let mut link = Link::open(config.socket).map_err(system("take over the socket"))?;
    let Some(ToAgent::Hello(hello)) = link.heard().await else { return Err(Error::NoHello) };
    let timer = Timer::new().map_err(system("make a timer"))?;
    let (now, fleet) = (clock::now(), config.connect.fleet.clone());
    let me = Identity::read(&hello, now).map_err(system("find out which machine this is"))?;
    let (asking, asked) = mpsc::channel(1);
    let (call, calls) = mpsc::channel(WISHES_MAX);
    let (pong, directory) = (me.pong(hello.supervisor_pid), PathBuf::from(&hello.directory));
    let user = drain::user(config.connect.user, &hello.worker);
    let connect = ConnectOptions { user, ..config.connect };
    let bulk = Bulk::new(connect.clone(), hello.worker.clone(), directory.clone());
    let run = (hello.incarnation, hello.generation);
    let counts = Counts::new(fleet.clone(), hello.worker.clone(), run);
    let mut signers = config.signers.map(|path| SignersFile::new(path, now));
    let named = fleet.clone();
    let desk = Desk::new(pong, directory, asking, call, bulk, counts);
    desk.supervisor_answered(now);
    let mut errands = JoinSet::new();
    errands.spawn(errands::connect(connect));
    let agent = Agent {
        link,
        guards: guards(&hello),
        publisher: Publisher::new(fleet, hello.worker.clone(), hello.incarnation),
        errands,
        online: None,
        childless: hello.children.is_empty(),
        left_to_drain: BTreeSet::new(),
        statuses_lost: None,
        drain: if hello.draining { Drain::Wanted } else { Drain::Not },
        watched: Watched::new(Fixed::look()),
        secrets: Secrets::new(hello.worker.clone()),
        side: match &mut signers {
            Some(file) => {
                let mut side = BusSide::new(hello, me, now).signed_by(named, file.first());
                side.note_refused(file.trouble());
                side
            }
            None => BusSide::new(hello, me, now),
        },
        signers,
        desk: Arc::new(desk),
        last_word: None,
        served: None,
        serving: None,
        recording: None,
        timer,
        pings: Pings::default(),
        asked,
        calls,
        wishes: Wishes::default(),
        prober: Prober::default(),
        done: 0,
        leaving: false,
        followed: None,
    };
    agent.run().await
}

/// Each child takes two descriptors, and a thousand children more than a process gets by default.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

fn guards(hello: &Hello) -> Guards {
    let mut guards = Guards::new(hello.supervisor_pid);
    hello.children.iter().for_each(|child| guards.add(child.clone()));
    hello.leases.iter().for_each(|&(seconds, until)| guards.extend(seconds, until));
    guards
}

impl Agent {
    async fn run(mut self) -> Result<(), Error> {
        loop {
            let now = clock::now();
            if self.settle(now) {
                self.link.close().await;
                return Ok(());
            }
            let system = |why| Error::System { what: "set the timer", why };
            self.timer.arm(Some(self.deadline(now))).map_err(system)?;
            let wake = self.wake().await?;
            self.handle(wake, clock::now())?;
        }
    }

    async fn wake(&mut self) -> Result<Wake, Error> {
        tokio::select! {
            said = self.link.heard() => Ok(said.map_or(Wake::SupervisorGone, Wake::Said)),
            expired = self.timer.expired() => match expired {
                Ok(()) => Ok(Wake::Due),
                Err(why) => Err(Error::System { what: "read the timer", why }),
            },
            Some(ended) = self.errands.join_next(), if !self.errands.is_empty() => ended_errand(ended),
            wake = online(&mut self.online) => Ok(wake),
            Some(()) = self.asked.recv() => Ok(Wake::Asked),
            Some(call) = self.calls.recv() => Ok(Wake::Wish(call)),
        }
    }

    fn handle(&mut self, wake: Wake, now: BootTime) -> Result<(), Error> {
        match wake {
            Wake::Said(message) => {
                self.said(message, now);
                // Reports that came together are looked at together: of several about an instance,
                // only the last one writes its status.
                for _ in 1..SAID_AT_ONCE {
                    let Some(message) = self.link.heard_already() else { break };
                    self.said(message, now);
                }
            }
            Wake::SupervisorGone => {
                self.guards.kill_all();
                return Err(Error::SupervisorGone { children: self.guards.len() });
            }
            Wake::Due => {}
            Wake::Done(done) => self.errand_done(done, now),
            Wake::Connection => self.connection(now),
            Wake::Watched(item) => self.watched(item, now),
            Wake::Secret(item) => self.secrets.heard(item),
            Wake::Asked => self.hurry(now),
            Wake::Wish(call) => {
                let pids = self.guards.pids();
                let pid = |name: &InstanceId| pids.get(name).copied();
                let left = call.answered(|ask| self.side.inventory(ask.after.as_ref(), pid));
                if let Some(call) = left
                    && let Some(order) = self.wishes.begin(call)
                {
                    // One that is dropped is not answered, which the caller is told.
                    self.link.say(order);
                }
            }
        }
        Ok(())
    }

    fn said(&mut self, message: ToAgent, now: BootTime) {
        match message {
            ToAgent::Hello(_) => tracing::warn!("the supervisor introduced itself twice"),
            ToAgent::Held { name, placement } => {
                self.side.held(name, *placement);
                self.carry_out();
            }
            ToAgent::LetGo { name, placement } => {
                self.side.let_go(name, *placement);
                self.carry_out();
            }
            ToAgent::Stands { name, status } => self.publisher.stands(name, status),
            ToAgent::Child(child) => {
                self.side.handed(child.name.clone());
                self.guards.add(child);
            }
            ToAgent::ChildGone { pid } => self.guards.gone(pid),
            ToAgent::Report(report) => self.publisher.push(report),
            ToAgent::Pong { number } => {
                if let Some(at) = self.pings.answered(number) {
                    self.supervisor_answered(at, now);
                }
            }
            // The link answers pings by itself.
            ToAgent::Ping { .. } => {}
            ToAgent::Probe { number, ask, timeout_ms } => {
                let asking = self.prober.ask(ask, Duration::from_millis(timeout_ms));
                self.errands.spawn(async move { Done::Probed { number, trouble: asking.await } });
            }
            ToAgent::Secret { name } => self.secrets.want(name),
            ToAgent::Cleared { number, trouble, unknown } => {
                self.wishes.cleared(number, trouble, unknown);
            }
            ToAgent::Handed { number, outcome } => self.wishes.handed(number, outcome),
            ToAgent::Described { labels, capacity, policy } => {
                self.described(labels, capacity, policy);
            }
            ToAgent::Drain => self.begin_drain(),
            ToAgent::Stopping { reason } => self.stopping(&reason),
            ToAgent::Bye => self.leaving = true,
        }
    }

    /// Does what time or the last wake made due; says whether all is done.
    fn settle(&mut self, now: BootTime) -> bool {
        self.guards.enforce(now);
        // One that does not read gets no more pings to read.
        let ping = self.pings.due(self.side.ping_interval(), now);
        if let Some(number) = ping
            && self.link.idle()
        {
            self.link.say(ToSupervisor::Ping { number });
        }
        self.tick(now);
        self.tell_secrets();
        self.publish();
        let through = self.publisher.through();
        let tell = ping.is_some() || self.publisher.idle() || through >= self.done + DONE_AT_ONCE;
        if tell && through > self.done && self.link.say(ToSupervisor::Done { through }) {
            self.done = through;
        }
        self.leaving
            && self.publisher.idle()
            && self.recording.is_none()
            && self.nobody_follows()
            && self.link.say(ToSupervisor::Finished)
    }

    fn nobody_follows(&mut self) -> bool {
        if self.followed.is_none() {
            let bulk = self.desk.bulk.clone();
            self.followed = Some(!bulk.runs());
            if bulk.runs() {
                self.errands.spawn(async move {
                    bulk.close().await;
                    Done::Followed
                });
            }
        }
        self.followed == Some(true)
    }

    /// Tells the supervisor of secrets; what it does not read now is told later.
    fn tell_secrets(&mut self) {
        while let Some((name, found)) = self.secrets.owed() {
            if !self.link.say(ToSupervisor::Secret { name: name.clone(), found }) {
                return;
            }
            self.secrets.told(&name);
        }
    }

    fn publish(&mut self) {
        let Some(online) = &self.online else { return };
        let worker = self.side.worker();
        while let Some(delivery) = self.publisher.begin() {
            let (bus, desk) = (online.bus.clone(), Arc::clone(&self.desk));
            let worker = worker.clone();
            self.errands.spawn(async move {
                let doing = crate::report::carry_out(bus, worker, delivery, &desk.counts);
                Done::Reported(doing.await)
            });
        }
        self.desk.counts.waiting(self.publisher.left());
    }

    fn deadline(&self, now: BootTime) -> BootTime {
        let strangers = self.side.meets_strangers();
        let signers = self.signers.as_ref().map(|file| file.due(strangers));
        let others = [self.guards.deadline(), self.side.deadline(now), signers];
        others.into_iter().flatten().fold(self.pings.deadline(), BootTime::min)
    }
}

fn ended_errand(ended: Result<Done, JoinError>) -> Result<Wake, Error> {
    match ended {
        Ok(done) => Ok(Wake::Done(done)),
        // It was replaced by another one.
        Err(error) if error.is_cancelled() => Ok(Wake::Done(Done::Nothing)),
        Err(error) => Err(Error::Errand { why: error.to_string() }),
    }
}

/// What the bus tells by itself. Cancel-safe.
async fn online(online: &mut Option<Online>) -> Wake {
    let Some(online) = online else { return std::future::pending().await };
    let watched = async {
        match &mut online.watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        item = watched => Wake::Watched(item),
        item = online.secrets.next() => Wake::Secret(item),
        Ok(()) = online.connections.changed() => Wake::Connection,
        else => std::future::pending().await,
    }
}
