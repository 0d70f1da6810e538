//! How a run goes, from what is heard of it; and what its end is to a shell. Pure.

use dsbus_schema::event::{Fact, PlacementChange, ProcessFact};
use dsbus_schema::ids::{Epoch, WorkerName};
use dsbus_schema::state::{Exit, State};
use dsbus_schema::status::InstanceRow;

use crate::exit_code::Code;
use dsbus_schema::status::Unstarted;

/// A command that cannot be executed, and one that does not exist: a shell's codes.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The process ended.
    Exit(Exit),
    /// None could be started.
    NotStarted(String),
    /// It was stopped before there was one.
    Stopped,
}

/// Something to act on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// There is a child.
    Child {
        worker: WorkerName,
        epoch: Epoch,
        pid: i32,
        /// It is not the first one.
        again: bool,
    },
    /// Something to know.
    Word(String),
    /// It was stopped, by whomever: how it stands says whether it runs again elsewhere.
    Stopped,
}

/// The course of a run.
#[derive(Debug)]
pub(super) struct Course {
    /// One worker that cannot start it is enough to give up.
    once: bool,
    child: Option<(Epoch, i32)>,
    /// We asked it to stop.
    asked: bool,
    /// How the last child ended, when it was stopped.
    stopped: Option<Exit>,
    end: Option<End>,
}

/// What is known at a moment.
struct Sight<'a> {
    state: State,
    epoch: Epoch,
    worker: Option<&'a WorkerName>,
    pid: Option<i32>,
    exit: Option<Exit>,
    why: Option<&'a str>,
    /// Whether people want it to run; an event does not say it.
    wanted: Option<bool>,
}

impl Course {
    /// `once`: one worker that cannot start it is enough to give up.
    pub(super) fn new(once: bool) -> Course {
        Course { once, child: None, asked: false, stopped: None, end: None }
    }

    /// How it ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether there was a child.
    pub(super) fn has_begun(&self) -> bool {
        self.child.is_some()
    }

    /// We ask it to stop: when it is, that is its end.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// An event about it.
    pub(super) fn hear(&mut self, fact: &Fact) -> Option<News> {
        match fact {
            Fact::Process(fact) => {
                let ProcessFact { state, epoch, worker, pid, exit, spawnerr, reason, .. } = fact;
                let why = spawnerr.as_deref().or(reason.as_deref());
                let (state, epoch, exit) = (*state, *epoch, *exit);
                let (worker, pid, wanted) = (worker.as_ref(), *pid, None);
                self.see(&Sight { state, epoch, worker, pid, exit, why, wanted })
            }
            Fact::Placement(fact) if fact.change == PlacementChange::Moved => {
                let from = fact.from.as_ref().map(|from| format!(" from {from}"));
                let to = fact.to.as_ref().map(|to| format!(" to {to}"));
                let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
                Some(News::Word(format!("moved{from}{to}: {}", fact.reason)))
            }
            _ => None,
        }
    }

    /// How it stands.
    pub(super) fn look(&mut self, row: &InstanceRow) -> Option<News> {
        let why = row.spawnerr.as_deref().or(row.reason.as_deref());
        let InstanceRow { state, epoch, worker, pid, exit, .. } = row;
        let (state, epoch, exit) = (*state, *epoch, *exit);
        let (worker, pid, wanted) = (worker.as_ref(), *pid, Some(row.wanted.run));
        self.see(&Sight { state, epoch, worker, pid, exit, why, wanted })
    }

    fn see(&mut self, sight: &Sight<'_>) -> Option<News> {
        // What is told late of an earlier stay is over.
        let before = self.child.is_some_and(|(epoch, _)| sight.epoch < epoch);
        if self.end.is_some() || (before && sight.worker.is_some()) {
            return None;
        }
        match sight.state {
            State::Starting | State::Running | State::Stopping => {
                let (worker, pid) = (sight.worker?.clone(), sight.pid?);
                let again = self.child.is_some();
                if self.child == Some((sight.epoch, pid)) {
                    return None;
                }
                self.child = Some((sight.epoch, pid));
                self.stopped = None;
                Some(News::Child { worker, epoch: sight.epoch, pid, again })
            }
            State::Exited => {
                self.end = Some(sight.exit.map_or(End::Stopped, End::Exit));
                None
            }
            State::Stopped => self.see_stopped(sight),
            State::Fatal if self.once || sight.worker.is_none() => {
                let why = sight.why.unwrap_or("it could not be started");
                self.end = Some(match sight.exit {
                    Some(exit) => End::Exit(exit),
                    None => End::NotStarted(why.to_owned()),
                });
                None
            }
            State::Fatal | State::Pending | State::Backoff | State::Unknown => None,
        }
    }

    /// A move stops it first, and so does a worker that is told to stop: it ends only where nobody wants
    /// it to run.
    fn see_stopped(&mut self, sight: &Sight<'_>) -> Option<News> {
        self.stopped = sight.exit.or(self.stopped);
        // Before it is placed, it is shown as stopped, too.
        let was_there = self.asked || self.child.is_some() || sight.worker.is_some();
        let for_good = match sight.wanted {
            Some(wanted) => !wanted && was_there,
            None => self.asked,
        };
        if for_good {
            self.end = Some(self.stopped.map_or(End::Stopped, End::Exit));
            return None;
        }
        sight.wanted.is_none().then_some(News::Stopped)
    }
}

/// The exit code of a process, as a shell has it.
pub(super) fn code(exit: Exit) -> Code {
    match (exit.code, exit.signal) {
        (Some(code), _) => Code::program(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Code::signal(signal),
        (None, None) => Code::NotRun,
    }
}

/// The exit code for a process that could not be started, by what its worker says.
pub(super) fn code_of_spawn(why: &str) -> Code {
    match Unstarted::of(why) {
        Unstarted::NoFile(_) | Unstarted::NoInterpreter => Code::program(NOT_FOUND),
        Unstarted::NotExecutable | Unstarted::Refused => Code::program(NOT_EXECUTABLE),
        Unstarted::Other => Code::NotRun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(course: &mut Course, text: &str, exit: Option<Exit>) -> Option<String> {
        look(course, text, exit, None)
    }

    fn look(
        course: &mut Course,
        text: &str,
        exit: Option<Exit>,
        wanted: Option<bool>,
    ) -> Option<String> {
        let words: Vec<&str> = text.split(' ').collect();
        let worker = (words[1] != "-").then(|| words[1].parse().unwrap());
        let pid = words.get(3).map(|pid| pid.parse().unwrap());
        let state = serde_json::from_value(words[0].into()).unwrap();
        let epoch = Epoch(words[2].parse().unwrap());
        let (worker, why) = (worker.as_ref(), Some("no file x"));
        course.see(&Sight { state, epoch, worker, pid, exit, why, wanted }).map(|news| match news {
            News::Child { worker, epoch, pid, again } => format!("{worker} {epoch} {pid} {again}"),
            News::Word(word) => word,
            News::Stopped => "stopped".to_owned(),
        })
    }

    #[test]
    fn a_run_begins_and_ends() {
        let mut course = Course::new(true);
        assert_eq!(look(&mut course, "STOPPED - 0", None, Some(false)), None);
        assert_eq!(course.end(), None, "it is not placed yet");
        assert_eq!(sight(&mut course, "PENDING - 0", None), None);
        assert!(!course.has_begun());
        let began = sight(&mut course, "STARTING w1 7 50", None);
        assert_eq!(began.as_deref(), Some("w1 7 50 false"));
        assert_eq!(sight(&mut course, "RUNNING w1 7 50", None), None);
        assert_eq!(sight(&mut course, "EXITED w1 7", Some(Exit::code(3))), None);
        assert_eq!(course.end(), Some(&End::Exit(Exit::code(3))));
        assert_eq!(sight(&mut course, "RUNNING w1 7 50", None), None, "told late");
        assert_eq!(course.end(), Some(&End::Exit(Exit::code(3))));
    }

    #[test]
    fn a_worker_is_lost_and_what_it_says_late_does_not_count() {
        let mut course = Course::new(true);
        sight(&mut course, "STARTING w1 7 50", None);
        let again = sight(&mut course, "STARTING w2 9 60", None);
        assert_eq!(again.as_deref(), Some("w2 9 60 true"));
        assert_eq!(sight(&mut course, "STOPPED w1 7", Some(Exit::signal(2))), None);
        assert_eq!(course.end(), None);
        look(&mut course, "STOPPED w2 9", Some(Exit::signal(2)), Some(false));
        assert_eq!(course.end(), Some(&End::Exit(Exit::signal(2))));
    }

    #[test]
    fn what_is_stopped_to_run_elsewhere_goes_on() {
        let interrupted = Some(Exit::signal(2));
        let mut course = Course::new(true);
        sight(&mut course, "STARTING w1 7 50", None);
        let heard = sight(&mut course, "STOPPED w1 7", interrupted);
        assert_eq!(heard.as_deref(), Some("stopped"), "how it stands is asked");
        for text in ["STOPPED w1 7", "PENDING - 0", "STARTING w2 9"] {
            assert_eq!(look(&mut course, text, interrupted, Some(true)), None, "{text}");
            assert_eq!(course.end(), None, "{text}");
        }
        let again = sight(&mut course, "STARTING w2 9 60", None);
        assert_eq!(again.as_deref(), Some("w2 9 60 true"));
        sight(&mut course, "EXITED w2 9", Some(Exit::code(4)));
        assert_eq!(course.end(), Some(&End::Exit(Exit::code(4))));
    }

    #[test]
    fn what_is_stopped_for_good_ends() {
        let interrupted = Some(Exit::signal(2));
        for (text, exit) in [("STOPPED w1 7", interrupted), ("STOPPED - 0", None)] {
            let mut course = Course::new(true);
            sight(&mut course, "STARTING w1 7 50", None);
            sight(&mut course, "STOPPED w1 7", interrupted);
            look(&mut course, text, exit, Some(false));
            assert_eq!(course.end(), Some(&End::Exit(Exit::signal(2))), "{text}");
        }
        let mut asked = Course::new(true);
        sight(&mut asked, "STARTING w1 7 50", None);
        asked.ask();
        assert_eq!(sight(&mut asked, "STOPPED w1 7", interrupted), None);
        assert_eq!(asked.end(), Some(&End::Exit(Exit::signal(2))), "without asking anybody");
        let mut waiting = Course::new(true);
        waiting.ask();
        look(&mut waiting, "PENDING - 0", None, Some(true));
        assert_eq!(waiting.end(), None);
        look(&mut waiting, "STOPPED - 0", None, Some(false));
        assert_eq!(waiting.end(), Some(&End::Stopped), "before it was placed");
    }

    #[test]
    fn what_cannot_be_started_ends() {
        for (once, text, ends) in [
            (true, "BACKOFF w1 7", false),
            (true, "FATAL w1 7", true),
            (false, "FATAL w1 7", false),
            (false, "FATAL - 0", true),
        ] {
            let mut course = Course::new(once);
            sight(&mut course, text, None);
            let end = ends.then(|| End::NotStarted("no file x".to_owned()));
            assert_eq!(course.end(), end.as_ref(), "{once} {text}");
        }
        let mut course = Course::new(true);
        look(&mut course, "STOPPED w1 7", None, Some(false));
        assert_eq!(course.end(), Some(&End::Stopped));
    }

    #[test]
    fn codes_are_a_shells() {
        for (exit, number) in [
            (Exit::code(0), 0),
            (Exit::code(7), 7),
            (Exit::code(255), 255),
            (Exit::signal(15), 143),
            (Exit::signal(9), 137),
        ] {
            assert_eq!(code(exit).number(), number, "{exit}");
        }
        for (why, number) in [
            ("no file x is in any directory of PATH (/bin)", 127),
            ("/bin/x does not exist", 127),
            ("/bin/x needs the interpreter /y, which does not exist", 127),
            ("/bin/x is no program: it has no #! line", 126),
            ("directory /x does not exist", 125),
            ("env_file /x: does not exist", 125),
            ("/etc/passwd is not executable: it has mode 644", 126),
            ("/etc is a directory, and cannot be executed", 126),
            ("user nobody2 does not exist here", 125),
            ("too many open files", 125),
        ] {
            assert_eq!(code_of_spawn(why).number(), number, "{why}");
        }
    }
}
