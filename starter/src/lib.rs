//! What a daemon tells whoever started it: whether it is ready, how it stands, that it goes round.
//!
//! It is said as systemd wants to hear it (`sd_notify`(3)): datagrams to the socket that `NOTIFY_SOCKET`
//! names. `dsbus worker start` listens in the same way, and so may any other init. Without that
//! variable nothing is said.
//!
//! A daemon never waits for its starter: what cannot be said now is said again at the next beat. That
//! is why this is no library's sender, which waits until there is room.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variables by which a starter says what it wants to hear: nobody whom a daemon starts may have
/// them.
pub const VARIABLES: [&str; 3] = [SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID"];
const SOCKET: &str = "NOTIFY_SOCKET";

/// How many times a daemon says in one watchdog's time that it goes round: two may be late.
const BEATS: u32 = 3;
/// Longest between two beats: how it stands may have changed.
const BEAT: Duration = Duration::from_secs(5);
/// How long a starter is asked to be patient with a daemon that starts or stops, at each beat. A bus
/// may be away for long, and so may a child take that is told to stop; a daemon that hangs does not
/// ask.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause after something could not be said.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How far a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is not ready yet.
    Starting,
    /// It does what it is for.
    Ready,
    /// It reads its configuration again, or brings in a new binary, and says [`Stage::Ready`] when
    /// that is done.
    Reloading,
    /// It was told to stop.
    Stopping,
}

/// Whoever started this daemon.
pub struct Starter {
    link: Option<Link>,
    /// When it is killed for not going round, if it is at all.
    watchdog: Option<Duration>,
    stage: Stage,
    status: String,
    /// How it stands was not heard yet.
    untold: bool,
    next: Duration,
}

struct Link {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starter").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Starter {
    /// Whoever is named in the environment of this process.
    pub fn here() -> Starter {
        Starter::named(std::env::var_os, std::process::id())
    }

    fn named(variable: impl Fn(&'static str) -> Option<OsString>, me: u32) -> Starter {
        let link = variable(SOCKET).and_then(|name| Link::to(&name).ok());
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // A process that it was handed down to is not meant.
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(me));
        let watchdog = number("WATCHDOG_USEC").filter(|_| mine && link.is_some());
        Starter {
            link,
            watchdog: watchdog.filter(|span| *span > 0).map(Duration::from_micros),
            stage: Stage::Starting,
            status: String::new(),
            untold: false,
            next: Duration::ZERO,
        }
    }

    /// How far the daemon was when it was last said.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether anybody wants to hear it.
    pub fn listens(&self) -> bool {
        self.link.is_some()
    }

    fn beat_every(&self) -> Duration {
        self.watchdog.map_or(BEAT, |span| (span / BEATS).min(BEAT))
    }

    /// Says how the daemon stands, if that is news. `status` is one line for people.
    pub fn stands(&mut self, stage: Stage, status: &str) {
        if self.link.is_none() || (self.stage == stage && self.status == status) {
            return;
        }
        self.stage = stage;
        status.clone_into(&mut self.status);
        self.untold = true;
        self.say(false);
    }

    /// The loop goes round: says so when it is time to. `now` is of a clock that only goes forward.
    pub fn beat(&mut self, now: Duration) {
        if self.link.is_none() || now < self.next {
            return;
        }
        self.say(true);
        let pause = if self.untold { AGAIN_AFTER } else { self.beat_every() };
        self.next = now + pause;
    }

    /// When [`Starter::beat`] has something to do, on the clock that it is given.
    pub fn next(&self) -> Option<Duration> {
        self.link.is_some().then_some(self.next)
    }

    /// How long it is until then; [`Duration::MAX`] when nobody listens.
    pub fn pause(&self, now: Duration) -> Duration {
        self.next().map_or(Duration::MAX, |at| at.saturating_sub(now))
    }

    fn say(&mut self, beats: bool) {
        let Some(link) = &self.link else { return };
        let mut text = String::new();
        if self.untold {
            text.push_str(&words(self.stage, &self.status));
        }
        if beats && self.watchdog.is_some() {
            text.push_str("WATCHDOG=1\n");
        }
        if beats && matches!(self.stage, Stage::Starting | Stage::Stopping) {
            let _ = writeln!(text, "EXTEND_TIMEOUT_USEC={}", PATIENCE.as_micros());
        }
        if text.is_empty() {
            return;
        }
        match link.socket.send_to_addr(text.as_bytes(), &link.to) {
            Ok(_) => self.untold = false,
            // It has no room now, or is being replaced.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || self.watchdog.is_some() => {}
            // A starter that is gone comes back under that name no more.
            Err(_) => self.link = None,
        }
    }
}

fn words(stage: Stage, status: &str) -> String {
    let stage = match stage {
        Stage::Starting => "",
        Stage::Ready => "READY=1\n",
        Stage::Reloading => "RELOADING=1\n",
        Stage::Stopping => "STOPPING=1\n",
    };
    // A line break would begin another assignment.
    format!("{stage}STATUS={}\n", status.replace(['\n', '\r'], " "))
}

impl Link {
    fn to(name: &OsStr) -> io::Result<Link> {
        let to = match name.as_bytes().split_first() {
            Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
            Some((b'/', _)) => SocketAddr::from_pathname(name)?,
            Some(_) | None => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Link { socket, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Init {
        directory: tempfile::TempDir,
        socket: UnixDatagram,
    }

    impl Init {
        fn new() -> Init {
            let directory = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
            socket.set_nonblocking(true).unwrap();
            Init { directory, socket }
        }

        fn starts(&self, watchdog: &[(&str, &str)]) -> Starter {
            let path = self.directory.path().join("socket").into_os_string();
            let variable = |name| {
                let known = watchdog.iter().find(|(key, _)| *key == name);
                known.map(|(_, value)| OsString::from(value))
            };
            Starter::named(
                |name| if name == SOCKET { Some(path.clone()) } else { variable(name) },
                7,
            )
        }

        fn heard(&self) -> String {
            let mut bytes = [0; 256];
            self.socket.recv(&mut bytes).map_or_else(
                |_| String::new(),
                |n| String::from_utf8_lossy(&bytes[..n]).into_owned(),
            )
        }
    }

    const WATCHDOG: [(&str, &str); 2] = [("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "7")];

    #[test]
    fn news_is_said_once_and_on_one_line() {
        let init = Init::new();
        let mut starter = init.starts(&[]);
        starter.stands(Stage::Starting, "waits for\nREADY=1");
        assert_eq!(init.heard(), "STATUS=waits for READY=1\n");
        for _ in 0..2 {
            starter.stands(Stage::Ready, "works");
        }
        starter.stands(Stage::Reloading, "reads its file");
        starter.stands(Stage::Stopping, "stops");
        for said in ["READY=1\nSTATUS=works\n", "RELOADING=1\nSTATUS=reads its file\n"] {
            assert_eq!(init.heard(), said);
        }
        assert_eq!(init.heard(), "STOPPING=1\nSTATUS=stops\n");
        let mut works = init.starts(&[]);
        works.stands(Stage::Ready, "works");
        init.heard();
        works.beat(Duration::from_secs(100));
        assert_eq!(init.heard(), "", "nobody asked whether it goes round");
    }

    #[test]
    fn it_says_that_it_goes_round_when_that_is_due() {
        let init = Init::new();
        let mut starter = init.starts(&WATCHDOG);
        let at = Duration::from_millis;
        starter.stands(Stage::Ready, "works");
        init.heard();
        for (now, said) in
            [(10, "WATCHDOG=1\n"), (900, ""), (1009, ""), (1010, "WATCHDOG=1\n"), (1900, "")]
        {
            starter.beat(at(now));
            assert_eq!(init.heard(), said, "at {now}");
        }
        assert_eq!(starter.next(), Some(at(2010)));
        starter.stands(Stage::Stopping, "stops");
        init.heard();
        starter.beat(at(2010));
        assert_eq!(init.heard(), "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000\n");
        let mut other = init.starts(&[WATCHDOG[0], ("WATCHDOG_PID", "8")]);
        other.stands(Stage::Ready, "works");
        init.heard();
        other.beat(at(1));
        assert_eq!(init.heard(), "", "it was another one's");
    }

    #[test]
    fn what_was_not_heard_is_said_again() {
        let init = Init::new();
        let mut starter = init.starts(&[]);
        // Until its starter's queue is full.
        let mut said = 0;
        while !starter.untold {
            said += 1;
            assert!(said < 100_000, "there is always room");
            starter.stands(Stage::Starting, &said.to_string());
        }
        starter.stands(Stage::Ready, "works");
        while !init.heard().is_empty() {}
        starter.beat(Duration::from_secs(1));
        assert_eq!(init.heard(), "READY=1\nSTATUS=works\n");
    }

    #[test]
    fn a_starter_that_is_gone_or_never_was_is_told_nothing() {
        let init = Init::new();
        let (mut starter, mut watched) = (init.starts(&[]), init.starts(&WATCHDOG));
        drop(init);
        starter.stands(Stage::Ready, "");
        watched.stands(Stage::Ready, "works");
        assert!(!starter.listens() && watched.listens(), "a watchdog's socket may come back");
        for wrong in ["", "relative", "/no/such/socket"] {
            let wrong = OsString::from(wrong);
            let mut starter = Starter::named(|name| (name == SOCKET).then(|| wrong.clone()), 7);
            starter.stands(Stage::Ready, "works");
            assert!(!starter.listens(), "{wrong:?}");
        }
    }
}
