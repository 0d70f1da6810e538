//! Values of keys that have a form of their own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dsbus_schema::lenient::{self, Span};
use dsbus_schema::program::Signal;
use dsbus_schema::state::Exit;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WAIT_MAX;

/// Most messages that a limit may allow: each is remembered as long as the limit looks back.
const RATE_MAX: u32 = 1000;
/// Most events that flapping may be counted by: each is remembered.
const FLAP_MAX: u32 = 100;

/// What events may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// The program.
    Program,
    /// The instance.
    Instance,
    /// The group of the program.
    Group,
    /// The worker.
    Worker,
    /// The TYPE.
    Type,
    /// The kind.
    Kind,
}

impl Label {
    const ALL: [Label; 6] =
        [Label::Program, Label::Instance, Label::Group, Label::Worker, Label::Type, Label::Kind];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Label::Program => "program",
            Label::Instance => "instance",
            Label::Group => "group",
            Label::Worker => "worker",
            Label::Type => "type",
            Label::Kind => "kind",
        }
    }
}

impl FromStr for Label {
    type Err = String;
    fn from_str(text: &str) -> Result<Label, String> {
        Label::ALL.into_iter().find(|label| label.name() == text).ok_or_else(|| {
            format!("expected {}; found {text:?}", Label::ALL.map(Label::name).join(", "))
        })
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

/// So many messages in so much time: `10/1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub count: u32,
    /// In how much time.
    pub within: Duration,
}

impl FromStr for RateLimit {
    type Err = String;
    fn from_str(text: &str) -> Result<RateLimit, String> {
        let hint = || {
            format!("expected a number of messages and a time, such as \"10/1h\"; found {text:?}")
        };
        let (count, within) = text.split_once('/').ok_or_else(hint)?;
        let count = count.trim().parse().map_err(|_| hint())?;
        let within = within.trim();
        // "10/h" is what people write who have seen other limits.
        let one = within.starts_with(|c: char| c.is_ascii_alphabetic());
        let within = if one { format!("1{within}") } else { within.to_owned() };
        let within: Span = within.parse().map_err(|_| hint())?;
        if !(1..=RATE_MAX).contains(&count) {
            return Err(format!("expected 1 to {RATE_MAX} messages, found {count}"));
        }
        span("the time of a limit", within.0)?;
        Ok(RateLimit { count, within: within.0 })
    }
}

fn span(what: &str, given: Duration) -> Result<(), String> {
    if given < Duration::from_secs(1) || given > WAIT_MAX {
        return Err(format!("{what} is from 1s to 1 week"));
    }
    Ok(())
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, Span(self.within))
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<RateLimit, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// `{ count = 5, within = "10m" }`: when events come so often that only their number is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Flap {
    /// How many events of a group.
    pub count: u32,
    /// In how much time. It is calm again when none came for so long.
    #[serde(serialize_with = "as_span")]
    pub within: Duration,
}

fn as_span<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Span(*d))
}

impl<'de> Deserialize<'de> for Flap {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Flap, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            #[serde(deserialize_with = "lenient::number")]
            count: u32,
            within: Span,
        }
        let keys = Keys::deserialize(d)?;
        if !(2..=FLAP_MAX).contains(&keys.count) {
            let why = format!("count is from 2 to {FLAP_MAX}, found {}", keys.count);
            return Err(D::Error::custom(why));
        }
        span("within", keys.within.0).map_err(D::Error::custom)?;
        Ok(Flap { count: keys.count, within: keys.within.0 })
    }
}

/// How a process may have ended: `1`, `1-127`, `SEGV`, `signal`, `core`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitWord {
    /// With an exit code from the first to the second.
    Code(u8, u8),
    /// By this signal.
    Signal(Signal),
    /// By any signal.
    AnySignal,
    /// With a core dump.
    Core,
}

impl ExitWord {
    /// Whether a process ended so.
    pub fn matches(self, exit: &Exit) -> bool {
        match self {
            ExitWord::Code(from, to) => {
                exit.code.is_some_and(|code| (i32::from(from)..=i32::from(to)).contains(&code))
            }
            ExitWord::Signal(signal) => exit.signal == Some(signal.number()),
            ExitWord::AnySignal => exit.signal.is_some(),
            ExitWord::Core => exit.core,
        }
    }
}

impl FromStr for ExitWord {
    type Err = String;
    fn from_str(text: &str) -> Result<ExitWord, String> {
        let hint = || {
            format!(
                "expected an exit code (1), several (1-127), a signal (SEGV), \"signal\" for any, or \
                 \"core\"; found {text:?}"
            )
        };
        match text {
            "signal" => return Ok(ExitWord::AnySignal),
            "core" => return Ok(ExitWord::Core),
            _ => {}
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().map(ExitWord::Signal).map_err(|_| hint());
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (from.trim().parse(), to.trim().parse()) {
            (Ok(from), Ok(to)) if from <= to => Ok(ExitWord::Code(from, to)),
            _ => Err(hint()),
        }
    }
}

impl Serialize for ExitWord {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            ExitWord::Code(from, to) => s.collect_str(&format_args!("{from}-{to}")),
            ExitWord::Signal(signal) => s.serialize_str(signal.name()),
            ExitWord::AnySignal => s.serialize_str("signal"),
            ExitWord::Core => s.serialize_str("core"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        for (text, count, seconds) in
            [("10/1h", 10, 3600), ("1 / 90s", 1, 90), ("5/m", 5, 60), ("3/60", 3, 60)]
        {
            let limit = RateLimit { count, within: Duration::from_secs(seconds) };
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
        for bad in ["10", "0/1h", "x/1h", "10/soon", "2000/1h", "10/10ms", "10/30d", "-1/1h"] {
            assert!(bad.parse::<RateLimit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn exits_are_told_apart() {
        let (one, segv) = (Exit::code(1), Exit { core: true, ..Exit::signal(11) });
        for (word, of_one, of_segv) in [
            ("1", true, false),
            ("2", false, false),
            ("0-127", true, false),
            ("SEGV", false, true),
            ("SIGSEGV", false, true),
            ("TERM", false, false),
            ("signal", false, true),
            ("core", false, true),
        ] {
            let read: ExitWord = word.parse().unwrap();
            assert_eq!((read.matches(&one), read.matches(&segv)), (of_one, of_segv), "{word}");
        }
        for bad in ["", "300", "5-1", "1-", "boom", "-1"] {
            assert!(bad.parse::<ExitWord>().is_err(), "{bad}");
        }
    }

    #[test]
    fn flapping_has_both_numbers() {
        let read = |text: &str| serde_json::from_str::<Flap>(text).map_err(|e| e.to_string());
        let flap = Flap { count: 5, within: Duration::from_secs(600) };
        assert_eq!(read(r#"{"count": "5", "within": "10m"}"#), Ok(flap));
        for (bad, said) in [
            (r#"{"count": 1, "within": "1m"}"#, "2 to 100"),
            (r#"{"count": 5}"#, "within"),
            (r#"{"count": 5, "within": "1m", "wait": 1}"#, "wait"),
            (r#"{"count": 5, "within": 0}"#, "1s"),
        ] {
            assert!(read(bad).unwrap_err().contains(said), "{bad}");
        }
    }
}
