//! When a program runs again and again: times as cron writes them, in a time zone.

use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::ids::ProgramId;
use crate::moment::Timestamp;

/// The time zone of a schedule that names none: schedulers on several machines must read the same
/// times out of it, so it cannot be that of a machine.
const ZONE: &str = "UTC";
const HOURS: usize = 24;
const NANOS: i128 = 1_000_000_000;
/// The fields of a line of cron, and their values; that of seconds may be left out.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or jan to dec"),
    ("day of the week", "0 to 7, or sun to sat"),
];

/// What becomes of due times that passed while no scheduler lived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissedRun {
    /// Nothing: it runs at the next due time.
    #[default]
    Skip,
    /// It runs once, for all that were missed.
    Run,
}

/// When a oneshot runs: `"*/5 * * * *"`, or a table of `cron`, `timezone` and `missed`.
///
/// Clocks that are put forward or back: a time that is left out counts as the first moment after
/// it, and one that comes twice counts once, the first time. A schedule of every hour follows the
/// time that passes instead: it neither makes up for an hour that is left out, nor rests for one
/// that comes twice.
#[derive(Clone)]
pub struct Schedule {
    cron: String,
    zone: String,
    missed: MissedRun,
    times: Arc<Times>,
}

/// What was read out of the text.
struct Times {
    cron: Cron,
    zone: TimeZone,
    every_hour: bool,
}

impl Schedule {
    /// Reads a line of cron and the name of a time zone, UTC when there is none.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn new(cron: &str, zone: Option<&str>, missed: MissedRun) -> Result<Schedule, String> {
        let text = cron.trim();
        let cron = parse(text)?;
        let name = zone.unwrap_or(ZONE).trim();
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| {
            format!("timezone {name:?} is none of the IANA database, such as Europe/Berlin")
        })?;
        // Any day does: what no year of the calendar has never comes.
        let begin = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        cron.find_next_occurrence(&begin, true)
            .map_err(|_| format!("{text:?} never comes: no month has such a day"))?;
        let every_hour = cron.pattern.hours.values().len() == HOURS;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        let times = Arc::new(Times { cron, zone, every_hour });
        Ok(Schedule { cron: text.to_owned(), zone: name, missed, times })
    }

    /// The line of cron, as it was declared.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The name of its time zone.
    pub fn timezone(&self) -> &str {
        &self.zone
    }

    /// What becomes of due times that passed while no scheduler lived.
    pub fn missed(&self) -> MissedRun {
        self.missed
    }

    /// The first due time after this moment.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = whole(after)?;
        let Times { cron, zone, every_hour } = &*self.times;
        let from = after.to_zoned(zone.clone());
        if *every_hour {
            let next = cron.find_next_occurrence(&from, false).ok()?;
            return Some(told(next.timestamp()));
        }
        // What is due is searched for on the clock on the wall, and its moment after that: the
        // later on the wall, the later or the same the moment.
        let mut wall = from.datetime();
        loop {
            wall = cron.find_next_occurrence(&wall, false).ok()?;
            let at = moment(zone, wall)?;
            if at > after {
                return Some(told(at));
            }
        }
    }

    /// The last due time after `from`, and not after `to`. However long the span, it is searched for
    /// backwards from its end.
    pub fn last_before(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let to = whole(to)?;
        let Times { cron, zone, every_hour } = &*self.times;
        let zoned = to.to_zoned(zone.clone());
        let last = if *every_hour {
            told(cron.find_previous_occurrence(&zoned, true).ok()?.timestamp())
        } else {
            let mut wall = zoned.datetime();
            if let AmbiguousOffset::Fold { before, after } =
                zone.to_ambiguous_timestamp(wall).offset()
                && zoned.offset() == after
            {
                // All of the hour that comes twice has been once.
                let width = before.seconds() - after.seconds();
                wall = wall.checked_add(jiff::SignedDuration::from_secs(width.into())).ok()?;
            }
            let mut inclusive = true;
            loop {
                wall = cron.find_previous_occurrence(&wall, inclusive).ok()?;
                inclusive = false;
                let at = moment(zone, wall)?;
                if at <= to {
                    break told(at);
                }
            }
        };
        (last > from).then_some(last)
    }
}

/// The id of the run of that program at that due time: every scheduler gives it the same, so that
/// it is fired once.
pub fn run_id(program: ProgramId, due: Timestamp) -> Uuid {
    Uuid::new_v5(&program.0, due.to_string().as_bytes())
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

fn parse(text: &str) -> Result<Cron, String> {
    let wrong = |why: String| format!("cron {text:?}: {why}");
    let error = match parser().parse(text) {
        Ok(cron) => return Ok(cron),
        Err(error) => error,
    };
    if text.starts_with('@') {
        return Err(wrong("known are @hourly, @daily, @weekly, @monthly and @yearly".to_owned()));
    }
    let given: Vec<&str> = text.split_whitespace().collect();
    let Some(left_out @ (0 | 1)) = FIELDS.len().checked_sub(given.len()) else {
        let names = FIELDS.map(|(name, _)| name)[1..].join(", ");
        let found = given.len();
        return Err(wrong(format!("has {found} fields, not 5 ({names}), or 6 with seconds first")));
    };
    // A field that is wrong is wrong alone, too.
    for (at, field) in (left_out..).zip(given) {
        let mut alone = ["*"; FIELDS.len()];
        alone[at] = field;
        if parser().parse(&alone.join(" ")).is_err() {
            let (name, values) = FIELDS[at];
            let forms = "one, or such as 1,3 or 1-5 or */2";
            return Err(wrong(format!("{field:?} is no {name}: {values}; {forms}")));
        }
    }
    Err(wrong(error.to_string()))
}

/// The moment at which the clock on the wall shows this: the first one of two; and where it is left
/// out, the first moment after.
fn moment(zone: &TimeZone, wall: DateTime) -> Option<jiff::Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let left_out = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let earlier = ambiguous.earlier().ok()?;
    if left_out {
        // That is read with the offset from after the change, and lies before it.
        return zone.following(earlier).next().map(|change| change.timestamp());
    }
    Some(earlier)
}

/// Due times are whole seconds: what is after a moment is after its second.
fn whole(at: Timestamp) -> Option<jiff::Timestamp> {
    let seconds = at.unix_nanos().div_euclid(NANOS);
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn told(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_unix_nanos(i128::from(at.as_second()) * NANOS)
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        (&self.cron, &self.zone, self.missed) == (&other.cron, &other.zone, other.missed)
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cron, self.zone)
    }
}

/// As it is written on the bus, and in the longer of its two forms.
#[derive(Serialize, Deserialize)]
struct Table {
    #[serde(default)]
    cron: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    missed: MissedRun,
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (cron, timezone) = (Some(self.cron.clone()), Some(self.zone.clone()));
        Table { cron, timezone, missed: self.missed }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let table = match Value::deserialize(d)? {
            Value::String(cron) => {
                Table { cron: Some(cron), timezone: None, missed: MissedRun::Skip }
            }
            value @ Value::Object(_) => serde_json::from_value(value).map_err(D::Error::custom)?,
            other => {
                let wanted = "expected text such as \"*/5 * * * *\", or a table with cron";
                return Err(D::Error::custom(format!("{wanted}, found {other}")));
            }
        };
        let cron = table.cron.ok_or_else(|| D::Error::custom("a schedule needs cron"))?;
        Schedule::new(&cron, table.timezone.as_deref(), table.missed).map_err(D::Error::custom)
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schedule".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let cron = "Minute, hour, day of the month, month, day of the week; or six, with seconds \
                    first; or @hourly, @daily, @weekly, @monthly, @yearly. Required.";
        let zone = "Name of the IANA database, such as `Europe/Berlin`.";
        let mut missed = generator.subschema_for::<MissedRun>();
        let what = "What becomes of due times that passed while no scheduler lived: `skip` them, or \
                    `run` once for all of them.";
        missed.insert("description".to_owned(), what.into());
        missed.insert("default".to_owned(), "skip".into());
        json_schema!({
            "description": "a line of cron, or a table of cron, timezone and missed",
            "anyOf": [{ "type": "string" }, {
                "type": "object",
                "properties": {
                    "cron": { "description": cron, "type": "string" },
                    "timezone": { "description": zone, "type": "string", "default": ZONE },
                    "missed": missed
                },
                "required": ["cron"]
            }]
        })
    }
}
