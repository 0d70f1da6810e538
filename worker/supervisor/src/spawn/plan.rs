//! Everything that a new process needs, made before it exists: between its birth and exec nothing
//! may be allocated, looked up or decided.

use std::ffi::{CString, OsStr, c_char};
use std::fmt;

use zeroize::Zeroize;

use super::environment::Environment;

/// Digits of the greatest pid that any kernel gives (`PID_MAX_LIMIT` is four million).
const PID_DIGITS: usize = 10;

/// What the new process does, in the order of [`Step`].
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) path: CString,
    /// The descriptor that is executed instead, in the new process's own table.
    pub(super) held: Option<i32>,
    pub(super) argv: Words,
    pub(super) environment: Words,
    pub(super) directory: CString,
    pub(super) umask: Option<u32>,
    /// What is written to `/proc/self/oom_score_adj`.
    pub(super) oom_score_adj: Option<CString>,
    pub(super) nice: Option<i32>,
    /// Number of the resource, and the limit.
    pub(super) rlimits: Vec<(u32, libc::rlimit)>,
    pub(super) switch: Option<Switch>,
    /// Kept over the switch, by number.
    pub(super) capabilities: Vec<u8>,
    /// This process, without which the new one must not live.
    pub(super) parent: i32,
}

/// Another user.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// What a new process was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing was begun: descriptors had to be duplicated.
    Copies,
    Start,
    /// It could not get a table of descriptors of its own.
    Table,
    Session,
    Cgroup,
    /// The descriptor that becomes this number.
    Descriptor(usize),
    OomScoreAdj,
    Nice,
    /// The limit with this place in [`Plan::rlimits`].
    Rlimit(usize),
    User,
    /// The capability with this place in [`Plan::capabilities`].
    Capability(usize),
    Directory,
    Parent,
    Signals,
    Exec,
}

/// Why a new process could not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: i32,
}

/// Text as exec wants it: pointers to strings that end with NUL, and a null pointer last. It is wiped
/// once that is done, since values of variables may be secret.
#[derive(Default)]
pub(super) struct Words {
    /// What the pointers point to.
    texts: Vec<Vec<u8>>,
    pointers: Vec<*const c_char>,
    /// Where the process writes its own pid, which only it knows.
    pids: Vec<*mut u8>,
}

impl Words {
    pub(super) fn of(words: &[String]) -> Words {
        let texts = words.iter().map(|word| terminated(&[word.as_bytes()], 0)).collect();
        Words::new(texts, Vec::new())
    }

    /// The environment; `pids` are the names of variables that hold the process's own pid.
    pub(super) fn environment(environment: &Environment, pids: &[&str]) -> Words {
        let joined = |name: &OsStr, value: &OsStr, room: usize| {
            terminated(&[name.as_encoded_bytes(), b"=", value.as_encoded_bytes()], room)
        };
        let fixed = environment.iter();
        let first = fixed.len();
        let fixed = fixed.map(|(name, value)| joined(name, value, 0));
        let late = pids.iter().map(|name| joined(name.as_ref(), "".as_ref(), PID_DIGITS));
        let at = pids.iter().enumerate().map(|(i, name)| (first + i, name.len() + 1));
        Words::new(fixed.chain(late).collect(), at.collect())
    }

    fn new(mut texts: Vec<Vec<u8>>, pids: Vec<(usize, usize)>) -> Words {
        let pids = pids.into_iter().map(|(index, offset)| texts[index][offset..].as_mut_ptr());
        let pids = pids.collect();
        let pointers = texts.iter().map(|text| text.as_ptr().cast()).chain([std::ptr::null()]);
        let pointers = pointers.collect();
        Words { texts, pointers, pids }
    }

    pub(super) fn pointers(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    /// Writes the pid where it belongs. Allocates nothing.
    pub(super) fn write_pid(&self, pid: i32) {
        let mut digits = [0_u8; PID_DIGITS];
        let mut rest = pid.unsigned_abs();
        let mut count = 0;
        for digit in &mut digits {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        for place in &self.pids {
            for (offset, digit) in digits.iter().take(count).rev().enumerate() {
                // SAFETY: `place` points to PID_DIGITS bytes and a NUL within one of `texts`,
                // which live as long as `self`, are not moved, and are read only by the exec of
                // the one process that writes here.
                unsafe { place.add(offset).write(*digit) };
            }
        }
    }

    /// Text by its place; for tests and errors.
    #[cfg(test)]
    fn text(&self, index: usize) -> String {
        let text = self.texts[index].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words", self.texts.len())
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.texts.zeroize();
    }
}

/// Pieces of text, with room for more, and a NUL behind them. What is behind an earlier NUL is not
/// seen by exec. It never moves: a buffer that grows leaves a copy behind.
fn terminated(pieces: &[&[u8]], room: usize) -> Vec<u8> {
    let len = pieces.iter().map(|piece| piece.len()).sum::<usize>() + room + 1;
    let mut all = Vec::with_capacity(len);
    for piece in pieces {
        all.extend_from_slice(piece);
    }
    all.resize(len, 0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_where_it_belongs() {
        let environment = [("A", "1"), ("B", "x=y")].map(|(k, v)| (k.into(), v.into()));
        let environment = environment.into_iter().collect();
        for pid in [1, 10, 32767, i32::MAX] {
            let words = Words::environment(&environment, &["LISTEN_PID", "WATCHDOG_PID"]);
            words.write_pid(pid);
            let texts: Vec<_> = (0..4).map(|index| words.text(index)).collect();
            let expected = [
                "A=1".to_owned(),
                "B=x=y".to_owned(),
                format!("LISTEN_PID={pid}"),
                format!("WATCHDOG_PID={pid}"),
            ];
            assert_eq!(texts, expected);
        }
    }
}
