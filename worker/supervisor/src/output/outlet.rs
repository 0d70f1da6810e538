//! One channel of one child: a pipe, and where it goes.

mod handover;

use std::borrow::Cow;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use dsbus_schema::moment::Timestamp;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::ansi::Strip;
use super::capture::{Capture, Piece};
use super::loss::Loss;
use super::pieces::{Pieces, cut};
use super::registry::{CHUNK, Outputs, SharedLog};
use super::syslog::Lines;
use super::tail::{Tail, last_line};
use super::{Plan, Said};
use crate::clock::{self, Now};

pub(crate) use handover::OutletLeft;

/// Bytes read from one pipe before others have their turn, which takes 0.2 ms, 0.5 ms with
/// everything switched on, and 1 ms with a rotation, which ends it (measured, `tests/speed.rs`): a
/// restart of another child comes before 10 ms, also when several flood.
const TURN: usize = 4 * CHUNK;
/// What the pipe of a flooder holds, so that the child writes on while others have their turn.
const PIPE_MAX: libc::c_int = 1 << 20;
/// Turns in a row that found what a usual pipe holds, before it is made greater.
const FLOOD_TURNS: u32 = 8;
/// Bytes read from a pipe after its child has ended: all that it can hold. What a grandchild that
/// holds the pipe open writes later is not the child's.
const REST_MAX: usize = (1 << 20) + CHUNK;

/// A pipe that is read into where it goes.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// `None` once it is closed.
    pipe: Option<PipeReader>,
    plan: Plan,
    files: Vec<(SharedLog, Loss)>,
    stdout: Loss,
    stderr: Loss,
    syslog: Loss,
    strip: Option<Strip>,
    capture: Option<Capture>,
    lines: Option<Lines>,
    pieces: Pieces,
    tail: Tail,
    full_turns: u32,
}

/// What came of one read.
enum Step {
    Read { bytes: usize, rotated: bool },
    Nothing,
    Closed,
}

impl Outlet {
    pub(super) fn new(outputs: &mut Outputs, pipe: PipeReader, plan: Plan) -> io::Result<Outlet> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut outlet = Outlet {
            pipe: Some(pipe),
            files: Vec::new(),
            stdout: Loss::default(),
            stderr: Loss::default(),
            syslog: Loss::default(),
            strip: None,
            capture: None,
            lines: None,
            pieces: Pieces::default(),
            tail: Tail::default(),
            full_turns: 0,
            plan,
        };
        outlet.prepare(outputs, &mut Vec::new());
        Ok(outlet)
    }

    /// What to wait for; `None` once all writers have closed the pipe.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads for one turn, and closes the pipe when all its writers have.
    pub(crate) fn read(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) {
        let mut read = 0;
        while read < TURN {
            match self.step(outputs, said) {
                Step::Read { bytes, rotated } => {
                    read += bytes;
                    if rotated {
                        break;
                    }
                }
                Step::Nothing => break,
                Step::Closed => {
                    self.pipe = None;
                    return;
                }
            }
        }
        self.full_turns = if read < CHUNK { 0 } else { self.full_turns + 1 };
        if let Some(pipe) = self.pipe.as_ref().filter(|_| self.full_turns == FLOOD_TURNS) {
            // Refused to those that have too many; it is a pipe as before then.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_MAX));
        }
    }

    /// Reads what is left after the child has ended, gives out what was held back, and closes the
    /// pipe.
    pub(crate) fn drain(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) {
        let mut read = 0;
        while read < REST_MAX
            && let Step::Read { bytes, .. } = self.step(outputs, said)
        {
            read += bytes;
        }
        self.pipe = None;
        self.end_capture(outputs, said);
        self.end_pieces(said);
        self.end_lines(outputs, said);
        for (log, loss) in &mut self.files {
            loss.end(&log.borrow().path().display().to_string(), said);
        }
        self.stdout.end("the worker's standard output", said);
        self.stderr.end("the worker's standard error", said);
        self.syslog.end("syslog", said);
    }

    /// Obeys another plan from now on. What was held back for the old one is given out.
    pub(crate) fn change(&mut self, outputs: &mut Outputs, plan: Plan, said: &mut Vec<Said>) {
        if plan == self.plan {
            return;
        }
        if plan.capture_max == 0 {
            self.end_capture(outputs, said);
        }
        if !plan.events {
            self.end_pieces(said);
        }
        if plan.syslog != self.plan.syslog {
            self.end_lines(outputs, said);
        }
        self.plan = plan;
        self.prepare(outputs, said);
    }

    /// The last line that is not empty.
    pub(crate) fn last_line(&self) -> Option<String> {
        last_line(self.tail.bytes())
    }

    /// Makes what the plan needs, and keeps what is there already.
    fn prepare(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) {
        let mut old = std::mem::take(&mut self.files);
        for path in &self.plan.files {
            let log = outputs.file(path, self.plan.rotation);
            let place = old.iter().position(|(other, _)| Rc::ptr_eq(other, &log));
            let loss = place.map_or_else(Loss::default, |place| old.swap_remove(place).1);
            self.files.push((log, loss));
        }
        for (log, mut loss) in old {
            loss.end(&log.borrow().path().display().to_string(), said);
        }
        self.strip = self.plan.strip_ansi.then(|| self.strip.take().unwrap_or_default());
        let most = self.plan.capture_max;
        self.capture =
            (most > 0).then(|| self.capture.take().unwrap_or_else(|| Capture::new(most)));
        if let Some(capture) = &mut self.capture {
            capture.limit(most);
        }
        let lines = self.lines.take();
        self.lines =
            self.plan.syslog.as_ref().map(|tag| {
                lines.filter(|lines| lines.tag() == tag).unwrap_or_else(|| Lines::new(tag))
            });
    }

    fn step(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) -> Step {
        let now = clock::now();
        let Some(pipe) = &mut self.pipe else { return Step::Closed };
        let mut buffer = outputs.lend();
        let step = match pipe.read(&mut buffer) {
            Ok(0) => Step::Closed,
            Ok(bytes) => {
                let rotated = self.hear(&buffer[..bytes], outputs, now, said);
                Step::Read { bytes, rotated }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Step::Read { bytes: 0, rotated: false },
            Err(e) if e.kind() == ErrorKind::WouldBlock => Step::Nothing,
            Err(_) => Step::Closed,
        };
        outputs.give_back(buffer);
        step
    }

    /// What the child said: without escapes, and without what was captured, it goes on.
    fn hear(
        &mut self,
        bytes: &[u8],
        outputs: &mut Outputs,
        now: Now,
        said: &mut Vec<Said>,
    ) -> bool {
        let bytes = match &mut self.strip {
            Some(strip) => Cow::Owned(strip.strip(bytes)),
            None => Cow::Borrowed(bytes),
        };
        let Some(capture) = &mut self.capture else {
            return self.log(&bytes, outputs, now, said);
        };
        let mut rotated = false;
        for piece in capture.hear(&bytes) {
            match piece {
                Piece::Log(bytes) => rotated |= self.log(&bytes, outputs, now, said),
                Piece::Between(bytes) => {
                    said.extend(cut(&bytes).into_iter().map(Said::Communication));
                }
            }
        }
        rotated
    }

    /// Writes it wherever it goes. Says whether a file was rotated.
    fn log(&mut self, bytes: &[u8], outputs: &mut Outputs, now: Now, said: &mut Vec<Said>) -> bool {
        let in_a_line = self.tail.in_a_line();
        self.tail.push(bytes);
        if self.plan.events {
            said.extend(self.pieces.hear(bytes).into_iter().map(Said::Log));
        }
        if let Some(lines) = &mut self.lines {
            let messages = lines.hear(bytes);
            if !messages.is_empty() {
                self.syslog.note(outputs.syslog(&messages, now.boot), now.boot, said);
            }
        }
        if self.plan.stdout {
            self.stdout.note(outputs.stdout().write(bytes), now.boot, said);
        }
        if self.plan.stderr {
            self.stderr.note(outputs.stderr().write(bytes), now.boot, said);
        }
        let stamped = if self.plan.timestamps && !self.files.is_empty() {
            Cow::Owned(stamp(bytes, now.wall, in_a_line))
        } else {
            Cow::Borrowed(bytes)
        };
        let mut rotated = false;
        for (log, loss) in &mut self.files {
            let outcome = log.borrow_mut().append(&stamped, now.boot);
            loss.note(outcome, now.boot, said);
            rotated |= outputs.look_after(log);
        }
        rotated
    }

    fn end_capture(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) {
        let left = self.capture.as_mut().map(Capture::end).unwrap_or_default();
        if !left.is_empty() {
            self.log(&left, outputs, clock::now(), said);
        }
    }

    fn end_pieces(&mut self, said: &mut Vec<Said>) {
        said.extend(self.pieces.end().map(Said::Log));
    }

    fn end_lines(&mut self, outputs: &mut Outputs, said: &mut Vec<Said>) {
        let now = clock::now().boot;
        if let Some(message) = self.lines.as_mut().and_then(Lines::end) {
            self.syslog.note(outputs.syslog(&[message], now), now, said);
        }
    }
}

/// Begins each line with the time, and a blank.
fn stamp(bytes: &[u8], time: Timestamp, in_a_line: bool) -> Vec<u8> {
    let time = format!("{time} ");
    let mut stamped = Vec::with_capacity(bytes.len() + bytes.len() / 2);
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number > 0 || !in_a_line {
            stamped.extend_from_slice(time.as_bytes());
        }
        stamped.extend_from_slice(line);
    }
    stamped
}
