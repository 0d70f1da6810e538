//! The series of one answer, and writing them.

use std::borrow::Cow;
use std::fmt;

use dsbus_schema::stats::Durations;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::families::{FAMILIES, Family, LEFT_OUT, SERIES_MAX};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `OpenMetrics` 1.0.
    Open,
    /// What Prometheus had before it, 0.0.4.
    Text,
}

impl Form {
    /// What whoever asks wants, by the header `Accept`: `OpenMetrics` where it is named with no less
    /// weight than plain text.
    pub(super) fn wanted(accept: Option<&str>) -> Form {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for part in accept.unwrap_or_default().split(',') {
            let mut words = part.split(';').map(str::trim);
            let kind = words.next().unwrap_or_default();
            let weight = words.find_map(|word| word.strip_prefix("q="));
            let weight = weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open = open.max(weight);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(weight);
            }
        }
        if open > 0.0 && open >= plain { Form::Open } else { Form::Text }
    }

    /// The header `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// What stands behind a name and its labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A number of things.
    Whole(u64),
    /// Anything else.
    Real(f64),
    /// Durations in buckets.
    Spread(Durations),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Whole(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Whole(value as u64)
    }
}

impl From<Durations> for Value {
    fn from(value: Durations) -> Value {
        Value::Spread(value)
    }
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// All series.
#[derive(Debug)]
pub(super) struct Sheet {
    /// As [`FAMILIES`] are ordered.
    series: Vec<Vec<(Labels, Value)>>,
    left_out: Vec<u64>,
}

impl Sheet {
    /// Without any.
    pub(super) fn new() -> Sheet {
        Sheet {
            series: FAMILIES.iter().map(|_| Vec::new()).collect(),
            left_out: vec![0; FAMILIES.len()],
        }
    }

    /// Adds a series, with the values of the labels of its family, in their order.
    pub(super) fn add<const N: usize>(
        &mut self,
        family: &'static Family,
        labels: [Cow<'static, str>; N],
        value: impl Into<Value>,
    ) {
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.full_name());
        let Some(at) = FAMILIES.iter().position(|known| std::ptr::eq(*known, family)) else {
            return;
        };
        if self.series[at].len() >= SERIES_MAX {
            self.left_out[at] += 1;
            return;
        }
        let value = value.into();
        if let Value::Spread(durations) = &value
            && durations.counts.len() != durations.bounds_us.len() + 1
        {
            // What a daemon of another version tells is not understood.
            return;
        }
        let labels = family.labels.iter().copied().zip(labels).collect();
        self.series[at].push((labels, value));
    }

    /// The whole answer.
    pub(super) fn write(mut self, fleet: String, form: Form) -> Result<String, fmt::Error> {
        for (at, count) in std::mem::take(&mut self.left_out).into_iter().enumerate() {
            if count > 0 {
                self.add_left_out(FAMILIES[at].full_name(), count);
            }
        }
        let label = (Cow::Borrowed("fleet"), Cow::Owned(fleet));
        let mut registry = Registry::with_labels(std::iter::once(label));
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        match form {
            Form::Open => text::encode(&mut written, &registry)?,
            Form::Text => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }

    fn add_left_out(&mut self, family: String, count: u64) {
        let at = FAMILIES.iter().position(|known| std::ptr::eq(*known, &raw const LEFT_OUT));
        if let Some(at) = at {
            self.series[at].push((vec![("family", family.into())], count.into()));
        }
    }
}

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (family, series) in FAMILIES.iter().zip(&self.series) {
            let unit = family.measure.unit();
            let mut metric = encoder.encode_descriptor(
                family.name(),
                family.help,
                unit.as_ref(),
                family.kind,
            )?;
            for (labels, value) in series {
                if labels.is_empty() {
                    encode(&mut metric, family, value)?;
                } else {
                    encode(&mut metric.encode_family(labels)?, family, value)?;
                }
            }
        }
        Ok(())
    }
}

/// None are ever given.
type NoExemplar = Exemplar<Vec<(&'static str, Cow<'static, str>)>, f64>;

fn encode(metric: &mut MetricEncoder<'_>, family: &Family, value: &Value) -> fmt::Result {
    use prometheus_client::metrics::MetricType;
    let none: Option<&NoExemplar> = None;
    match value {
        Value::Whole(value) if family.kind == MetricType::Counter => {
            metric.encode_counter(value, none)
        }
        Value::Real(value) if family.kind == MetricType::Counter => {
            metric.encode_counter(value, none)
        }
        Value::Whole(value) => metric.encode_gauge(value),
        Value::Real(value) => metric.encode_gauge(value),
        Value::Spread(durations) => {
            let bounds = durations.bounds_us.iter().map(|us| seconds(*us)).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(durations.counts.iter().copied()).collect();
            let count = durations.counts.iter().sum();
            metric.encode_histogram::<Labels>(seconds(durations.sum_us), count, &buckets, None)
        }
    }
}

/// Microseconds in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

const _: fn() = || {
    fn is_labels<T: EncodeLabelSet>() {}
    is_labels::<Labels>();
};

#[cfg(test)]
mod tests {
    use super::super::families::{EVENTS_STORED, FAILOVER_DURATION, INSTANCES, RESTARTS};
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new();
        sheet.add(&INSTANCES, ["we\"b".into(), "RUNNING".into()], 3_u64);
        sheet.add(&RESTARTS, ["web".into()], 7_u64);
        sheet.add(&EVENTS_STORED, [], 9_u64);
        let durations = Durations {
            bounds_us: vec![500_000, 1_000_000],
            counts: vec![1, 2, 1],
            sum_us: 4_200_000,
        };
        sheet.add(&FAILOVER_DURATION, ["worker_lost".into()], durations);
        sheet
    }

    #[test]
    fn one_sheet_is_written_in_both_forms() {
        let text = sheet().write("lab".to_owned(), Form::Text).unwrap();
        for line in [
            "# TYPE dsbus_instances gauge",
            r#"dsbus_instances{fleet="lab",program="we\"b",state="RUNNING"} 3"#,
            "# TYPE dsbus_restarts_total counter",
            r#"dsbus_restarts_total{fleet="lab",program="web"} 7"#,
            r#"dsbus_events_stored_total{fleet="lab"} 9"#,
            r#"dsbus_failover_duration_seconds_bucket{fleet="lab",cause="worker_lost",le="0.5"} 1"#,
            r#"dsbus_failover_duration_seconds_bucket{fleet="lab",cause="worker_lost",le="+Inf"} 4"#,
            r#"dsbus_failover_duration_seconds_sum{fleet="lab",cause="worker_lost"} 4.2"#,
            r#"dsbus_failover_duration_seconds_count{fleet="lab",cause="worker_lost"} 4"#,
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("# EOF"));
        let open = sheet().write("lab".to_owned(), Form::Open).unwrap();
        for line in [
            "# TYPE dsbus_restarts counter",
            "# UNIT dsbus_failover_duration_seconds seconds",
            r#"dsbus_restarts_total{fleet="lab",program="web"} 7"#,
        ] {
            assert!(open.lines().any(|one| one == line), "{line}\n{open}");
        }
        assert!(open.ends_with("# EOF\n"));
    }

    #[test]
    fn beyond_the_limit_series_are_left_out_and_that_is_said() {
        let mut sheet = Sheet::new();
        for n in 0..SERIES_MAX + 5 {
            sheet.add(&RESTARTS, [format!("p{n}").into()], 1_u64);
        }
        let text = sheet.write("lab".to_owned(), Form::Text).unwrap();
        let series = text.lines().filter(|line| line.starts_with("dsbus_restarts_total{")).count();
        assert_eq!(series, SERIES_MAX);
        let said = r#"dsbus_gateway_series_left_out{fleet="lab",family="dsbus_restarts_total"} 5"#;
        assert!(text.lines().any(|line| line == said), "{said}");
    }

    #[test]
    fn a_monitor_gets_the_form_that_it_wants() {
        for (accept, form) in [
            (None, Form::Text),
            (Some("*/*"), Form::Text),
            (Some("text/plain"), Form::Text),
            (Some("application/openmetrics-text"), Form::Open),
            // Prometheus 2.42.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Form::Open,
            ),
            (Some("application/openmetrics-text;q=0.3, text/plain;q=0.5"), Form::Text),
        ] {
            assert_eq!(Form::wanted(accept), form, "{accept:?}");
        }
    }
}
