//! Times as people write them on a command line.

use std::str::FromStr;
use std::time::Duration;

use dsbus_schema::lenient::Span;
use dsbus_schema::moment::Timestamp;
use jiff::civil;

/// A time in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// `2h`: so long ago.
    Ago(Duration),
    /// `2026-11-26T10:00Z`.
    At(Timestamp),
    /// `10:00`: the last time that it was so late, in UTC.
    Clock(civil::Time),
}

const HOUR: i128 = 3_600_000_000_000;

impl Moment {
    /// Which moment it is, now.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        let now = now.unix_nanos();
        Timestamp::from_unix_nanos(match self {
            Moment::Ago(ago) => now - i128::try_from(ago.as_nanos()).unwrap_or(0),
            Moment::At(time) => time.unix_nanos(),
            Moment::Clock(time) => {
                let today = now - now.rem_euclid(24 * HOUR);
                let late = time.duration_since(civil::Time::midnight()).as_nanos();
                if today + late <= now { today + late } else { today + late - 24 * HOUR }
            }
        })
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Moment, String> {
        let text = text.trim();
        let at =
            |time: jiff::Timestamp| Moment::At(Timestamp::from_unix_nanos(time.as_nanosecond()));
        // A number alone could be seconds or a year.
        let number = text.parse::<f64>().is_ok();
        if !number && let Ok(Span(ago)) = text.parse() {
            return Ok(Moment::Ago(ago));
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(at(time));
        }
        // What the table shows has a Z and no date.
        let local = text.strip_suffix(['Z', 'z']).unwrap_or(text);
        if let Ok(time) = local.parse::<civil::Time>()
            && local.contains(':')
            && !local.contains('-')
        {
            return Ok(Moment::Clock(time));
        }
        match local.parse::<civil::DateTime>().and_then(|time| time.in_tz("UTC")) {
            Ok(zoned) if !number => Ok(at(zoned.timestamp())),
            Ok(_) | Err(_) => Err(
                "expected how long ago (2h, 90m, 3days), a time (10:00), a date (2026-11-26), or both \
                 (2026-11-26T10:00Z)"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp::parse("2026-11-26T12:30:00Z").unwrap();
        for (text, wanted) in [
            ("2h", "2026-11-26T10:30:00.000Z"),
            ("1h 30m", "2026-11-26T11:00:00.000Z"),
            ("250ms", "2026-11-26T12:29:59.750Z"),
            ("3days", "2026-11-23T12:30:00.000Z"),
            ("2026-11-26T10:00Z", "2026-11-26T10:00:00.000Z"),
            ("2026-11-26T10:00:05.250Z", "2026-11-26T10:00:05.250Z"),
            ("2026-11-26T10:00+02:00", "2026-11-26T08:00:00.000Z"),
            ("2026-11-26T10:00", "2026-11-26T10:00:00.000Z"),
            ("2026-11-26 10:00", "2026-11-26T10:00:00.000Z"),
            ("2026-11-25", "2026-11-25T00:00:00.000Z"),
            ("10:00", "2026-11-26T10:00:00.000Z"),
            ("10:00:05.250Z", "2026-11-26T10:00:05.250Z"),
            ("23:00", "2026-11-25T23:00:00.000Z"),
        ] {
            let moment: Moment = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(moment.resolve(now).to_string(), wanted, "{text}");
        }
        for wrong in ["", "yesterday", "2026", "20", "25:00", "2026-13-01", "2h ago", "-2h"] {
            let said = wrong.parse::<Moment>().unwrap_err();
            assert!(said.contains("2026-11-26T10:00Z"), "{wrong}: {said}");
        }
    }
}
