//! A terminal of one's own: a program runs in it as before a person, keys are pressed, and what it
//! shows is read off its screen.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use nix::pty::{Winsize, openpty};

use crate::wait::{DEADLINE, wait_for, wait_until};

/// What is kept of a screen that scrolls, in lines.
const SCROLLBACK: usize = 1_000;

/// A program in a terminal; both end with the value.
pub struct Terminal {
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("screen", &self.shown()).finish_non_exhaustive()
    }
}

impl Terminal {
    /// Starts `command` in a terminal of this size.
    ///
    /// # Panics
    /// When there is no terminal, or the program does not start.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a pseudo-terminal");
        let end = || pty.slave.try_clone().expect("a descriptor");
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR").env_remove("COLUMNS").env_remove("LINES");
        in_session_of_its_own(&mut command, pty.slave);
        let child = command.spawn().expect("the program starts");
        drop(command);
        let cells = |count| NonZero::new(count).expect("a terminal has a size");
        let screen = vt100::Parser::new(cells(rows), cells(columns), SCROLLBACK);
        let screen = Arc::new(Mutex::new(screen));
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().expect("a descriptor");
        let drawn = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // The end is an error here: EIO, when the program has closed its side.
            while let Ok(bytes @ 1..) = output.read(&mut part) {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).process(&part[..bytes]);
            }
        });
        Terminal { keys, screen, child }
    }

    /// Presses keys.
    ///
    /// # Panics
    /// When nobody reads them any more.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// What the screen shows, line by line, without colours.
    pub fn shown(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// What the screen shows, with the escape sequences of its colours.
    pub fn coloured(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen().contents_formatted()
    }

    /// Waits until the screen shows this text.
    ///
    /// # Panics
    /// With what it shows instead.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |shown| shown.contains(text))
    }

    /// Waits until the screen is so.
    ///
    /// # Panics
    /// With what it shows instead.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_until(&format!("{what:?} on the terminal"), DEADLINE * 2, || {
            let shown = self.shown();
            if wanted(&shown) { Ok(shown) } else { Err(shown) }
        })
    }

    /// Waits until the program ends.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of a program in a terminal", DEADLINE * 2, || {
            child.try_wait().expect("a child of ours")
        })
    }

    /// Process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The terminal is the program's controlling one, so that Ctrl-C is a signal to it.
#[expect(unsafe_code, reason = "what a child does before exec cannot be said otherwise")]
fn in_session_of_its_own(command: &mut Command, terminal: OwnedFd) {
    // SAFETY: both are system calls that allocate nothing and take no lock, and `terminal` lives in
    // the closure.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            rustix::process::ioctl_tiocsctty(terminal.as_fd())?;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_a_terminal_and_keys_reach_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "tty && stty size && read line && echo got $line && exit 3"]);
        let mut terminal = Terminal::start(command, 70, 20);
        terminal.wait_for("20 70");
        assert!(terminal.shown().contains("/dev/pts/"), "{terminal:?}");
        terminal.press("a word\r");
        terminal.wait_for("got a word");
        assert_eq!(terminal.ended().code(), Some(3));
    }

    #[test]
    fn control_c_is_a_signal() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'echo hit; exit 5' INT; echo up; while :; do sleep 0.1; done"]);
        let mut terminal = Terminal::start(command, 70, 20);
        terminal.wait_for("up");
        terminal.press("\x03");
        terminal.wait_for("hit");
        assert_eq!(terminal.ended().code(), Some(5));
    }
}
