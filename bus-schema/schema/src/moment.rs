//! Two kinds of time. [`BootTime`] is for deciding (leases, deadlines): it never jumps and goes on
//! while the machine sleeps, and means nothing on another machine. [`Timestamp`] is for telling
//! people when something happened, and is never decided upon, but by the schedules of programs, which
//! are about the clock on the wall, and by alerts, which are quiet for a while on whatever machine.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment on this machine's CLOCK_BOOTTIME, in nanoseconds since boot.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: BootTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for BootTime {
    type Output = BootTime;
    fn add(self, rhs: Duration) -> BootTime {
        BootTime(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for BootTime {
    type Output = BootTime;
    fn sub(self, rhs: Duration) -> BootTime {
        BootTime(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A wall-clock moment in UTC, written as RFC 3339 with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The moment `nanos` nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_unix_nanos(nanos: i128) -> Timestamp {
        let whole_millis = nanos - nanos.rem_euclid(1_000_000);
        Timestamp(
            OffsetDateTime::from_unix_timestamp_nanos(whole_millis)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        )
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub fn unix_nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// When `text` is not an RFC 3339 date and time.
    pub fn parse(text: &str) -> Result<Timestamp, String> {
        // A local time of the last day that there is may be none in UTC.
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| time.checked_to_offset(time::UtcOffset::UTC))
            .filter(|time| time.year() >= 0)
            .map(Timestamp)
            .ok_or_else(|| format!("{text:?} is not an RFC 3339 time such as 2026-01-31T12:00:00Z"))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Duration) -> Timestamp {
        let nanos = i128::try_from(rhs.as_nanos()).unwrap_or(i128::MAX);
        Timestamp::from_unix_nanos(self.unix_nanos().saturating_add(nanos))
    }
}

impl Timestamp {
    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        let nanos = self.unix_nanos() - earlier.unix_nanos();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Timestamp::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_a_round_trip() {
        let t = Timestamp::from_unix_nanos(1_790_000_000_123_456_789);
        assert_eq!(t.to_string(), "2026-09-21T14:13:20.123Z");
        assert_eq!(Timestamp::parse(&t.to_string()), Ok(t));
    }

    #[test]
    fn a_time_that_utc_does_not_have_is_refused() {
        for text in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "soon", ""] {
            let told = Timestamp::parse(text).unwrap_err();
            assert!(told.contains("RFC 3339"), "{told}");
        }
        for text in ["9999-12-31T23:59:59.999Z", "0000-01-01T00:00:00.000Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn timestamps_are_reckoned_with() {
        let t = Timestamp::from_unix_nanos(1_790_000_000_123_456_789);
        let later = t + Duration::from_millis(1500);
        assert_eq!(later.since(t), Duration::from_millis(1500));
        assert_eq!(t.since(later), Duration::ZERO);
    }

    #[test]
    fn boot_time_never_goes_below_zero() {
        assert_eq!(BootTime(5) - Duration::from_secs(1), BootTime(0));
        assert_eq!(BootTime(5).since(BootTime(9)), Duration::ZERO);
    }
}
