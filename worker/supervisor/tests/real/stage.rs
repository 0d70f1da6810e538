//! A supervisor in a process of its own, and the part of its agent.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use dsbus_schema::event::{Fact, Notice, NoticeFact, ProcessFact, WorkerChange, WorkerFact};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, ProgramId};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Command as Words, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_supervisor::clock;
use dsbus_supervisor::process::start_time;
use dsbus_supervisor::protocol::{Hello, LastEvent, Order, Reported, ToAgent, ToSupervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use uuid::Uuid;

/// Longest wait for anything: a loaded machine is slow, and only a fault takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the played agent knows.
#[derive(Debug, Default)]
struct Scene {
    heard: Vec<ToAgent>,
    /// Where the present agent is spoken to.
    say: Option<UnixStream>,
    agents: Vec<i32>,
    /// The bus is away: no report is published.
    bus_away: bool,
    /// Says at the end that all is published.
    mute: bool,
}

#[derive(Debug, Default)]
struct Shared {
    scene: Mutex<Scene>,
    news: Condvar,
}

/// A supervisor on stage.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: Arc<TempDir>,
    pub(crate) process: Process,
    shared: Arc<Shared>,
    /// How much of what was heard the test has looked at.
    seen: usize,
}

impl Stage {
    /// A worker in a directory of its own.
    pub(crate) fn open() -> Stage {
        Stage::open_with(&[])
    }

    /// The same with these settings; see `examples/stage.rs`.
    pub(crate) fn open_with(settings: &[&str]) -> Stage {
        Stage::open_in(Arc::new(tempfile::tempdir().unwrap()), &[], settings)
    }

    /// A worker in this directory, started through `through`, which gets its words.
    pub(crate) fn open_in(directory: Arc<TempDir>, through: &[&str], settings: &[&str]) -> Stage {
        let socket = directory.path().join(format!("agent-{}", Uuid::now_v7().simple()));
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared::default());
        let listening = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, stream) = (listening.clone(), stream.unwrap());
                thread::spawn(move || play(&shared, stream));
            }
        });
        let mut command = match through.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command.arg("worker").arg(directory.path().join("state")).arg(&socket);
        command.args(settings);
        command.env("NOTIFY_SOCKET", "/none").env("DSBUS_NATS", "none").env("KEPT", "yes");
        let process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Stage { directory, process, shared, seen: 0 }
    }

    pub(crate) fn directory(&self) -> Arc<TempDir> {
        self.directory.clone()
    }

    /// A file in the directory of instance `name` of index 0.
    pub(crate) fn file(&self, name: &str, file: &str) -> PathBuf {
        self.directory.path().join("state/instances").join(format!("{name}.0")).join(file)
    }

    pub(crate) fn say(&self, message: &ToSupervisor) {
        self.until("an agent", |scene| scene.say.is_some().then_some(()));
        say(&mut self.shared.scene.lock().unwrap(), message);
    }

    pub(crate) fn place(&self, order: &Order) {
        self.say(&ToSupervisor::Place { order: Box::new(order.clone()) });
    }

    /// Extends the lease of `seconds` to end after `rest`.
    pub(crate) fn lease(&self, seconds: u64, rest: Duration) -> BootTime {
        let until = clock::now().boot + rest;
        self.say(&ToSupervisor::Lease { seconds, until });
        until
    }

    pub(crate) fn bus_away(&self, away: bool) {
        self.shared.scene.lock().unwrap().bus_away = away;
    }

    /// The agent no longer answers at the end.
    pub(crate) fn mute(&self) {
        self.shared.scene.lock().unwrap().mute = true;
    }

    /// Process id of the present agent.
    pub(crate) fn agent_pid(&self) -> i32 {
        self.until("an agent", |scene| scene.agents.last().copied())
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_one(self.pid(), signal);
    }

    fn until<T>(&self, what: &str, look: impl Fn(&Scene) -> Option<T>) -> T {
        let late = clock::now().boot + PATIENCE;
        let mut scene = self.shared.scene.lock().unwrap();
        loop {
            if let Some(found) = look(&scene) {
                return found;
            }
            assert!(clock::now().boot < late, "no {what} in {:#?}", scene.heard);
            let pause = Duration::from_millis(20);
            scene = self.shared.news.wait_timeout(scene, pause).unwrap().0;
        }
    }

    /// Waits for a message, and goes on after it.
    pub(crate) fn hear<T>(&mut self, what: &str, look: impl Fn(&ToAgent) -> Option<T>) -> T {
        let seen = self.seen;
        let (at, found) = self.until(what, |scene| {
            let mut left = scene.heard.iter().enumerate().skip(seen);
            left.find_map(|(at, message)| Some((at, look(message)?)))
        });
        self.seen = at + 1;
        found
    }

    /// Waits until all that was heard is as `is` wants it.
    pub(crate) fn all_heard(&self, what: &str, is: impl Fn(&[ToAgent]) -> bool) -> Vec<ToAgent> {
        self.until(what, |scene| is(&scene.heard).then(|| scene.heard.clone()))
    }

    /// Everything heard so far.
    pub(crate) fn heard(&self) -> Vec<ToAgent> {
        self.shared.scene.lock().unwrap().heard.clone()
    }

    pub(crate) fn hello(&mut self, generation: u64) -> Hello {
        self.hear("hello", |message| match message {
            ToAgent::Hello(hello) if hello.generation == generation => Some(hello.clone()),
            _ => None,
        })
    }

    /// Waits until the instance of index 0 of this program changes to this state.
    pub(crate) fn change(&mut self, name: &str, state: State) -> (ProcessFact, Status) {
        self.hear(&format!("{name} {state}"), |message| {
            change(message)
                .filter(|(fact, _)| fact.name.program.as_str() == name && fact.state == state)
        })
    }

    /// Places a program, and waits until it runs.
    pub(crate) fn run(&mut self, order: &Order) -> i32 {
        self.place(order);
        let name = order.name.program.to_string();
        self.change(&name, State::Running).0.pid.unwrap()
    }

    /// Waits for a notice about the instance of index 0 of this program.
    pub(crate) fn notice(&mut self, name: &str, change: Notice) -> NoticeFact {
        self.hear(&format!("{name} {change:?}"), |message| match reported(message)? {
            Reported::Event { fact, .. } => match &**fact {
                Fact::Notice(fact)
                    if fact.change == change && fact.name.program.as_str() == name =>
                {
                    Some(fact.clone())
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// Waits until a status of this instance is as wanted.
    pub(crate) fn status(&mut self, name: &str, is: impl Fn(&Status) -> bool) -> Status {
        self.hear(&format!("a status of {name}"), |message| match reported(message)? {
            Reported::Instance { name: of, status, .. }
                if of.program.as_str() == name && is(status) =>
            {
                Some((**status).clone())
            }
            _ => None,
        })
    }

    pub(crate) fn worker_fact(&mut self, change: WorkerChange) -> WorkerFact {
        self.hear(&format!("{change:?}"), |message| match reported(message)? {
            Reported::Worker { fact, .. } if fact.change == change => Some(fact.clone()),
            _ => None,
        })
    }

    /// Waits for something that is not told.
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let is_so = std::cell::RefCell::new(&mut is_so);
        self.until(what, |_| (is_so.borrow_mut())().then_some(()));
    }

    /// Waits until a file holds text that ends with a newline.
    pub(crate) fn read(&self, path: &Path) -> String {
        self.until(&path.display().to_string(), |_| {
            fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
        })
    }

    /// Waits until the supervisor has ended. Exit code, signal, and what it said.
    pub(crate) fn ended(&mut self) -> (Option<i32>, Option<i32>, String) {
        use std::os::unix::process::ExitStatusExt;
        let late = clock::now().boot + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(clock::now().boot < late, "it does not end: {:#?}", self.heard());
            let scene = self.shared.scene.lock().unwrap();
            drop(self.shared.news.wait_timeout(scene, Duration::from_millis(10)).unwrap());
        };
        // Children do not hold it open, but an agent might for a moment.
        let text = std::io::read_to_string(self.process.stderr.take().unwrap()).unwrap();
        (status.code(), status.signal(), text)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The second signal makes it kill all groups at once, and nothing is left behind; one that
        // is frozen or dead already takes its children with it.
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGINT);
        let late = clock::now().boot + Duration::from_secs(5);
        while clock::now().boot < late && matches!(self.process.try_wait(), Ok(None)) {
            let scene = self.shared.scene.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.shared.news.wait_timeout(scene, Duration::from_millis(5)));
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn say(scene: &mut Scene, message: &ToSupervisor) {
    let mut line = serde_json::to_vec(message).unwrap();
    line.push(b'\n');
    // An agent that was replaced hears no more.
    if let Some(stream) = &mut scene.say {
        drop(stream.write_all(&line));
    }
}

fn play(shared: &Shared, stream: UnixStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(pid)) = lines.next() else { return };
    let pid = pid.parse().unwrap();
    {
        let mut scene = shared.scene.lock().unwrap();
        scene.agents.push(pid);
        scene.say = Some(stream);
    }
    for line in lines.map_while(Result::ok) {
        let message: ToAgent = serde_json::from_str(&line).unwrap();
        let mut scene = shared.scene.lock().unwrap();
        if scene.agents.last() != Some(&pid) {
            return;
        }
        match &message {
            ToAgent::Report(report) if !scene.bus_away => {
                say(&mut scene, &ToSupervisor::Done { through: report.number });
            }
            ToAgent::Bye if !scene.mute => say(&mut scene, &ToSupervisor::Finished),
            _ => {}
        }
        scene.heard.push(message);
        shared.news.notify_all();
    }
}

/// Cargo builds examples before it runs tests.
fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().with_file_name("examples").join("stage");
    assert!(path.exists(), "build it: cargo build -p dsbus-supervisor --examples");
    path
}

pub(crate) fn reported(message: &ToAgent) -> Option<&Reported> {
    match message {
        ToAgent::Report(report) => Some(&report.what),
        _ => None,
    }
}

/// The change of state that a message reports.
pub(crate) fn change(message: &ToAgent) -> Option<(ProcessFact, Status)> {
    match reported(message)? {
        Reported::Instance { status, event: Some(event), .. } => {
            Some((event.fact.clone(), (**status).clone()))
        }
        _ => None,
    }
}

/// A placement of instance 0 of a program under epoch 1, to run these words.
pub(crate) fn order(name: &str, words: &[&str], edit: impl FnOnce(&mut ProgramSpec)) -> Order {
    let mut spec = ProgramSpec {
        command: Words::Words(words.iter().map(ToString::to_string).collect()),
        startsecs: "0".parse().unwrap(),
        ..ProgramSpec::default()
    };
    edit(&mut spec);
    let wanted = Wanted { run: true, ..Wanted::default() };
    let placement = Placement::new(ProgramId(Uuid::from_u128(7)), 1, Epoch(1), wanted, spec);
    Order { name: format!("{name}:0").parse().unwrap(), placement, last: None }
}

/// The last event of an instance as the bus knows it.
pub(crate) fn last(epoch: u64, seq: u64, state: State) -> LastEvent {
    let id = ProgramId(Uuid::from_u128(7));
    let (group, process, pid) = (None, None, None);
    LastEvent { id, group, process, epoch: Epoch(epoch), seq, revision: 1, state, pid }
}

/// [`order`] for a script of a shell.
pub(crate) fn script(name: &str, text: &str, edit: impl FnOnce(&mut ProgramSpec)) -> Order {
    order(name, &["/bin/sh", "-c", text], edit)
}

/// The same placement, to be stopped.
pub(crate) fn stopped(order: &Order) -> Order {
    let mut order = order.clone();
    order.placement.wanted.run = false;
    order
}

pub(crate) fn sleeper(name: &str) -> Order {
    order(name, &["sleep", "1000"], |_| {})
}

pub(crate) fn alive(pid: i32) -> bool {
    start_time(pid).is_some()
}

pub(crate) fn signal_one(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
