//! `dsbus run -- CMD...`

mod course;
mod declaring;
mod forgetting;
mod input;
mod interrupts;

use std::time::Duration;

use dsbus_client::{Error, Watch};
use dsbus_schema::call::Channel;
use dsbus_schema::command::{Act, Acted, Applied, Create, Verb, code};
use dsbus_schema::event::Fact;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, Target, WorkerName};
use dsbus_schema::program::{ProgramSpec, Signal};
use dsbus_schema::state::Exit;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};

use self::course::{Course, End, News};
use self::declaring::{defaults, made_up, one_run};
use self::forgetting::{forget, forget_perhaps, may_be_done};
use self::input::Fed;
use self::interrupts::Interrupts;
use super::logs::{Begin, Live, event, watch_one};
use super::{act, apply, create};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{args, describe, output};

/// How often the schedulers are asked how it is, in case an event was missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long whoever is impatient waits for the last deeds: a kill, and that it is forgotten.
const HURRY_MAX: Duration = Duration::from_secs(3);

/// Runs a command on the fleet as if it ran here.
///
/// # Errors
/// When dsbus itself fails: with code 125.
pub(super) async fn run(config: &Config, args: args::Run) -> Result<Code, Failure> {
    let ran = ran(config, args).await;
    ran.map_err(|failure| match failure.code {
        // Nobody reads what it says.
        Code::Done => Failure::told(Code::signal(Signal::PIPE.number())),
        Code::Program(_) => failure,
        Code::Failed
        | Code::Usage
        | Code::NotRunning
        | Code::Unreachable
        | Code::TimedOut
        | Code::NotRun => Failure { code: Code::NotRun, ..failure },
    })
}

async fn ran(config: &Config, args: args::Run) -> Result<Code, Failure> {
    let args::Run { name, detach, keep, timeout: patience, command, keys } = args;
    let program = create::declaration(defaults(keys, detach), command);
    create::check(&program)?;
    let spec = ProgramSpec::read(&program).map_err(|problems| create::wrong(&problems))?;
    one_run(&spec)?;
    let connection = Connection::open(config).await?;
    let name = name.map_or_else(made_up, Ok)?;
    must_be_new(&connection, &name).await?;
    let instance = InstanceId::new(name.clone(), 0);
    let watch = watch_one(&connection.bus, &instance).await;
    // From now on there is something to take away.
    let interrupts = Interrupts::new()?;
    let request = Create { envelope: act::envelope(), name: name.clone(), program };
    let applied: Applied = match connection.bus.command(Verb::Create, &request).await {
        Ok(applied) => applied,
        Err(e) => {
            if may_be_done(&e) {
                forget_perhaps(&connection, &name).await;
            }
            return Err(connection.explain(e).await);
        }
    };
    apply::warn(&applied);
    if detach {
        output::line(&name)?;
        let fleet = config.fleet_option();
        output::note(format_args!(
            "dsbus{fleet} logs {name} shows its output, dsbus{fleet} remove {name} takes it away"
        ));
        return Ok(Code::Done);
    }
    let Some(id) = applied.programs.first().map(|program| program.id) else {
        return Err(Failure::failed(format!("nobody says that {name} was declared")));
    };
    let mut running = Running::begin(&connection, instance, id, &spec, watch);
    running.keep = keep;
    let ended = running.until(Instant::now() + patience.0, interrupts).await;
    if !keep {
        forget(&connection, &name, id).await;
    }
    ended
}

/// A program that is stopped could be declared anew, and would be forgotten afterwards.
async fn must_be_new(connection: &Connection, name: &ProgramName) -> Result<(), Failure> {
    match connection.bus.status(&[Target::Program(name.clone())]).await {
        Err(Error::Refused { code: code::NOT_FOUND, .. }) => Ok(()),
        Ok(_) => {
            let hint = format!("choose another --name, or: dsbus remove {name}");
            Err(Failure::failed(format!("{name} exists already")).hint(hint))
        }
        Err(e) => Err(connection.explain(e).await),
    }
}

/// What is asked about it.
fn ask(names: Vec<Target>) -> Act {
    Act::new(act::envelope(), names)
}

/// A run that goes on.
struct Running<'a> {
    connection: &'a Connection,
    name: InstanceId,
    /// Whoever removes it may declare another program under its name, which is none of ours.
    id: ProgramId,
    watch: Watch,
    live: Live,
    course: Course,
    child: watch::Sender<Option<super::hands::Child>>,
    feeding: JoinHandle<()>,
    fed: mpsc::Receiver<Fed>,
    /// What we asked it to end by, if we did.
    asked: Option<Signal>,
    /// The last time that it is asked to stop.
    asking: Option<JoinHandle<()>>,
    /// It is not forgotten when we end.
    keep: bool,
}

impl<'a> Running<'a> {
    fn begin(
        connection: &'a Connection,
        name: InstanceId,
        id: ProgramId,
        spec: &ProgramSpec,
        watch: Watch,
    ) -> Running<'a> {
        let both = [Channel::Stdout, Channel::Stderr];
        let channels = if spec.redirect_stderr { &both[..1] } else { &both };
        let live = Live::begin(&connection.bus, &name, channels, &Begin::FirstWord);
        let child = watch::Sender::new(None);
        let (say, fed) = mpsc::channel(1);
        let (bus, children, wanted) = (connection.bus.clone(), child.subscribe(), spec.stdin);
        let feeding = tokio::spawn(async move {
            let fed = if wanted { input::feed(&bus, children).await } else { Fed::Enough };
            // Whoever waits for it may have gone.
            let _ = say.send(fed).await;
        });
        let course = Course::new(spec.max_fail_count <= 1);
        Running {
            connection,
            name,
            id,
            watch,
            live,
            course,
            child,
            feeding,
            fed,
            asked: None,
            asking: None,
            keep: false,
        }
    }

    /// Until it has ended, and all that it said is shown; it must have been started at `late`.
    async fn until(mut self, late: Instant, mut interrupts: Interrupts) -> Result<Code, Failure> {
        let mut look = interval(LOOK_EVERY);
        // The first one comes at once.
        look.tick().await;
        let end = loop {
            if let Some(end) = self.course.end() {
                break end.clone();
            }
            tokio::select! {
                item = self.watch.next() => {
                    let Some(event) = event(&item).filter(|event| self.is_ours(&event.data)) else {
                        continue;
                    };
                    if let Fact::Process(fact) = &event.data {
                        self.has_said(fact.worker.as_ref(), fact.epoch, fact.pid, fact.exit);
                    }
                    match self.course.hear(&event.data) {
                        Some(News::Stopped) => self.look().await?,
                        news => self.act_on(news),
                    }
                }
                _ = look.tick() => self.look().await?,
                Some(fed) = self.fed.recv() => if let Fed::Lost(why) = fed {
                    self.stop(Signal::KILL).await;
                    self.feeding.abort();
                    self.show_the_last().await;
                    return Err(Failure::failed(why));
                },
                broken = self.live.broken() => {
                    self.stop(Signal::KILL).await;
                    self.feeding.abort();
                    return broken.map(|()| Code::Done).map_err(Failure::from);
                }
                signal = interrupts.next() => {
                    if self.asked.is_some() {
                        self.stop(Signal::KILL).await;
                        self.feeding.abort();
                        self.show_the_last().await;
                        return Ok(Code::signal(signal.number()));
                    }
                    self.asked = Some(signal);
                    self.course.ask();
                    output::note_below(format_args!("{} is asked to stop; once more kills it", self.name));
                    self.ask_to_stop(true);
                }
                () = sleep_until(late), if !self.course.has_begun() && self.asked.is_none() => {
                    self.feeding.abort();
                    let failure = self.not_started().await;
                    // What is kept would be started whenever somebody can.
                    if self.keep && !self.stop(Signal::KILL).await {
                        let name = &self.name.program;
                        output::warning(format_args!("{name} may yet be started: dsbus stop {name}"));
                    }
                    return Err(failure);
                }
            }
        };
        self.feeding.abort();
        let told = self.told(end);
        tokio::select! {
            shown = self.live.finish() => shown?,
            // What is left to be shown may be long, and whoever reads it slow.
            signal = interrupts.next() => return Ok(Code::signal(signal.number())),
        }
        told
    }

    /// Whether an event is about it.
    fn is_ours(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Process(fact) => fact.id == self.id,
            Fact::Placement(fact) => fact.id == self.id,
            Fact::Notice(_)
            | Fact::Output(_)
            | Fact::Tick(_)
            | Fact::Program(_)
            | Fact::Command(_)
            | Fact::Worker(_)
            | Fact::Rollout(_)
            | Fact::Group(_)
            | Fact::Scheduler(_)
            | Fact::User(_)
            | Fact::Listener(_) => false,
        }
    }

    /// It may have said something there. Where nothing was started yet, nobody is asked for its output.
    fn has_said(
        &self,
        worker: Option<&WorkerName>,
        epoch: Epoch,
        pid: Option<i32>,
        exit: Option<Exit>,
    ) {
        if let Some(worker) = worker.filter(|_| pid.is_some() || exit.is_some()) {
            self.live.hear(epoch, worker);
        }
    }

    fn act_on(&mut self, news: Option<News>) {
        match news {
            None => {}
            Some(News::Child { worker, epoch, pid, again }) => {
                if again {
                    output::note(format_args!("-- {} runs again, on {worker} --", self.name));
                }
                let name = self.name.clone();
                self.child.send_replace(Some(super::hands::Child { name, worker, epoch, pid }));
            }
            Some(News::Stopped) => {}
            Some(News::Word(word)) => output::note(format_args!("-- {}: {word} --", self.name)),
        }
    }

    /// Asks how it is: events are hints, and may be lost.
    async fn look(&mut self) -> Result<(), Failure> {
        match self.connection.bus.status(&self.target()).await {
            Ok(rows) => {
                if let Some(row) = rows.iter().find(|row| row.name == self.name) {
                    self.has_said(row.worker.as_ref(), row.epoch, row.pid, row.exit);
                    let news = self.course.look(row);
                    self.act_on(news);
                    if row.wanted.run {
                        self.ask_again_to_stop();
                    }
                }
                Ok(())
            }
            Err(Error::Refused { code: code::NOT_FOUND, .. }) => {
                Err(Failure::failed(format!("{} was removed", self.name.program)))
            }
            // It goes on without schedulers.
            Err(_) => {
                self.ask_again_to_stop();
                Ok(())
            }
        }
    }

    /// Asks it to end, without waiting for the answer.
    fn ask_to_stop(&mut self, first: bool) {
        let (bus, names) = (self.connection.bus.clone(), self.target());
        self.asking = Some(tokio::spawn(async move {
            let request = ask(names);
            let asked = bus.command::<_, Acted>(Verb::Stop, &request).await;
            if let Err(e) = asked
                && first
            {
                output::note(format_args!("-- it could not be asked to stop yet: {e} --"));
            }
        }));
    }

    /// What was asked for once may have been lost.
    fn ask_again_to_stop(&mut self) {
        let waits = self.asking.as_ref().is_some_and(|asking| !asking.is_finished());
        if self.asked.is_some() && self.course.end().is_none() && !waits {
            self.ask_to_stop(false);
        }
    }

    /// Shows what it said at last, as far as that comes soon.
    async fn show_the_last(self) {
        drop(timeout(HURRY_MAX, self.live.finish()).await);
    }

    fn target(&self) -> Vec<Target> {
        vec![Target::Id(self.id)]
    }

    /// Ends it, one way or another: it is also stopped, so that nobody starts it again. Says whether that
    /// was heard.
    async fn stop(&self, with: Signal) -> bool {
        let (connection, names) = (self.connection, self.target());
        let request = ask(names.clone());
        let killing = async {
            let rows = connection.bus.status(&names).await.unwrap_or_default();
            for row in &rows {
                // One that has none needs none.
                drop(super::signal::send(connection, row, with).await);
            }
        };
        // A worker that does not answer does not keep it from being stopped.
        let stopping = connection.bus.command::<_, Acted>(Verb::Stop, &request);
        let (_, stopped) = tokio::join!(timeout(HURRY_MAX, killing), timeout(HURRY_MAX, stopping));
        matches!(stopped, Ok(Ok(_)))
    }

    async fn not_started(&self) -> Failure {
        let names = self.target();
        let rows = timeout(HURRY_MAX, self.connection.bus.status(&names)).await;
        let rows = rows.ok().and_then(Result::ok).unwrap_or_default();
        let state = rows.first().map_or_else(|| "not yet known".to_owned(), describe::state);
        Failure::failed(format!("{} did not start in time: it is {state}", self.name))
            .hint("dsbus workers shows who could run it; --timeout gives it more time")
    }

    /// What its end is to a shell.
    fn told(&self, end: End) -> Result<Code, Failure> {
        match end {
            End::Exit(exit) => Ok(course::code(exit)),
            End::NotStarted(why) => {
                let code = course::code_of_spawn(&why);
                Err(Failure::new(code, why))
            }
            End::Stopped => match self.asked {
                Some(signal) => Ok(Code::signal(signal.number())),
                None => Err(Failure::failed(format!("{} was stopped before it ran", self.name))),
            },
        }
    }
}
