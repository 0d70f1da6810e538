//! Every family of metrics that there is: `docs/metrics.md` is made of this, and nothing else is
//! written into an answer.

use std::fmt::Write;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Series of one family that are shown. Ten thousand instances on as many workers are a fleet that
/// one gateway still answers for in a second; of more, a monitor should be asked what it wants.
pub(crate) const SERIES_MAX: usize = 20_000;

/// What is measured; the end of a name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A number of things.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Measure {
    /// As the encoder wants it.
    pub(crate) fn unit(self) -> Option<Unit> {
        match self {
            Measure::Number => None,
            Measure::Seconds => Some(Unit::Seconds),
            Measure::Bytes => Some(Unit::Bytes),
        }
    }
}

/// Who counts: whose restart begins a counter anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is read off the fleet as it stands.
    Fleet,
    /// The gateway, from the events that it hears.
    Events,
    /// The gateway, by asking workers what instances use.
    Usage,
    /// The gateway, about itself.
    Gateway,
    /// Each scheduler or worker, about itself; asked for each answer.
    Daemon,
    /// NATS.
    Bus,
}

impl Counted {
    fn words(self) -> &'static str {
        match self {
            Counted::Fleet => "as it stands",
            Counted::Events => "gateway, from events",
            Counted::Usage => "gateway, asking workers",
            Counted::Gateway => "gateway",
            Counted::Daemon => "the daemon itself",
            Counted::Bus => "NATS",
        }
    }
}

/// A family.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    /// What it measures.
    pub(crate) measure: Measure,
    /// Its type.
    pub(crate) kind: MetricType,
    /// Its labels, besides `fleet`.
    pub(crate) labels: &'static [&'static str],
    counted: Counted,
    /// What it is, for people.
    pub(crate) help: &'static str,
}

impl Family {
    /// As the encoder wants it: it adds the unit, and `_total`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// As it is queried; a histogram has `_bucket`, `_sum` and `_count` after this.
    pub(crate) fn full_name(&self) -> String {
        let unit = match self.measure {
            Measure::Number => "",
            Measure::Seconds => "_seconds",
            Measure::Bytes => "_bytes",
        };
        let total = if self.kind == MetricType::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name)
    }
}

macro_rules! families {
    ($($ident:ident = $name:literal $measure:ident $kind:ident [$($label:literal),*] $counted:ident $help:literal;)*) => {
        $(pub(crate) static $ident: Family = Family {
            name: $name,
            measure: Measure::$measure,
            kind: MetricType::$kind,
            labels: &[$($label),*],
            counted: Counted::$counted,
            help: $help,
        };)*
        /// All of them, in the order in which they are answered.
        pub(crate) static FAMILIES: &[&Family] = &[$(&$ident),*];
    };
}

families! {
    INSTANCES = "dsbus_instances" Number Gauge ["program", "state"] Fleet
        "Instances by state. A state in which a program has no instance is left out.";
    DESIRED = "dsbus_program_instances_desired" Number Gauge ["program"] Fleet
        "Instances that people want to run.";
    READY = "dsbus_program_instances_ready" Number Gauge ["program"] Fleet
        "Instances that people want to run, and that are RUNNING, or have ended as they should.";
    ROLLOUTS = "dsbus_rollouts" Number Gauge ["state"] Fleet
        "Rollouts that are not over.";
    RESTARTS = "dsbus_restarts" Number Counter ["program"] Events
        "Children that were started where one was started or tried before, in the same place: after a crash, by a command, by a reload.";
    FAILOVERS = "dsbus_failovers" Number Counter ["program", "cause"] Events
        "Instances that were moved because their worker is lost or stopped (worker_lost), or because they ended FATAL there (instance_fatal).";
    FAILOVER_DURATION = "dsbus_failover_duration" Seconds Histogram ["cause"] Events
        "From the last touch of a lost worker, or from FATAL, until the instance is RUNNING elsewhere. Clocks of several machines are compared.";
    MOVES = "dsbus_moves" Number Counter ["program", "cause"] Events
        "Instances that were moved for another cause: drain, balance, change.";
    EVENTS = "dsbus_events" Number Counter ["kind", "type"] Events
        "Events that this gateway has heard, without output and ticks. Events of users have no type here.";
    EVENTS_STORED = "dsbus_events_stored" Number Counter [] Bus
        "Events that were ever stored in the stream of the fleet.";
    INSTANCE_CPU = "dsbus_instance_cpu" Seconds Counter ["program", "name", "worker"] Usage
        "Processor time of an instance that this gateway saw pass, user and system.";
    INSTANCE_MEMORY = "dsbus_instance_memory" Bytes Gauge ["program", "name", "worker"] Usage
        "Resident memory of an instance, of all its processes.";
    WORKERS = "dsbus_workers" Number Gauge ["state"] Fleet
        "Workers by state; every state is there.";
    WORKER_UP = "dsbus_worker_up" Number Gauge ["worker"] Fleet
        "1 while the worker touches in time; 0 when it is suspect, lost or has stopped.";
    WORKER_INSTANCES = "dsbus_worker_instances" Number Gauge ["worker"] Fleet
        "Instances that are placed on a worker.";
    WORKER_LAST_TOUCH = "dsbus_worker_last_touch_timestamp" Seconds Gauge ["worker"] Fleet
        "When the worker last touched, in seconds since 1970; a few seconds old itself.";
    WORKER_TOUCH = "dsbus_worker_touch_duration" Seconds Histogram ["worker"] Daemon
        "From the sending of a touch until NATS has acknowledged it.";
    WORKER_TOUCH_FAILURES = "dsbus_worker_touch_failures" Number Counter ["worker"] Daemon
        "Touches that were not acknowledged.";
    WORKER_EVENTS = "dsbus_worker_events_published" Number Counter ["worker"] Daemon
        "Events that the worker told, and that are stored.";
    WORKER_EVENTS_QUEUED = "dsbus_worker_events_queued" Number Gauge ["worker"] Daemon
        "Reports that the worker's agent has still to bring onto the bus, 2,048 at most; more wait on its disk.";
    WORKER_EVENTS_DROPPED = "dsbus_worker_events_dropped" Number Counter ["worker"] Daemon
        "Events that the worker dropped, as far as it could tell of that.";
    SCHEDULER_UP = "dsbus_scheduler_up" Number Gauge ["scheduler"] Daemon
        "1 when the scheduler has answered now. One that left is gone from here; one that is silent for an hour, too.";
    SCHEDULER_PLAN = "dsbus_scheduler_plan_duration" Seconds Histogram ["scheduler"] Daemon
        "How long plans took.";
    SCHEDULER_TOUCH = "dsbus_scheduler_touch_duration" Seconds Histogram ["scheduler"] Daemon
        "From the sending of a touch until NATS has acknowledged it.";
    SCHEDULER_TOUCH_FAILURES = "dsbus_scheduler_touch_failures" Number Counter ["scheduler"] Daemon
        "Touches that were not acknowledged.";
    SCHEDULER_EVENTS = "dsbus_scheduler_events_published" Number Counter ["scheduler"] Daemon
        "Events that the scheduler told, and that are stored.";
    SCHEDULER_EVENTS_QUEUED = "dsbus_scheduler_events_queued" Number Gauge ["scheduler"] Daemon
        "Events that the scheduler has still to tell.";
    SCHEDULER_EVENTS_DROPPED = "dsbus_scheduler_events_dropped" Number Counter ["scheduler"] Daemon
        "Events that the scheduler dropped: they could not be stored.";
    BUILD = "dsbus_gateway_build_info" Number Gauge ["version"] Gateway
        "1, with the version of the gateway.";
    SILENT = "dsbus_gateway_silent" Number Gauge [] Gateway
        "1 while no scheduler answers the gateway: what it knows of instances and workers grows old.";
    BROWSERS = "dsbus_gateway_browsers" Number Gauge [] Gateway
        "Pages that follow the fleet live.";
    REQUESTS = "dsbus_gateway_requests" Number Counter ["route", "code"] Gateway
        "Requests that were answered, by route and HTTP status.";
    EVENTS_MISSED = "dsbus_gateway_events_missed" Number Counter [] Gateway
        "Events that this gateway could not count: it was too far behind.";
    ROUND_TRIP = "dsbus_gateway_bus_round_trip" Seconds Histogram [] Gateway
        "From a question about the stream of events until NATS has answered; asked with each answer here.";
    LEFT_OUT = "dsbus_gateway_series_left_out" Number Gauge ["family"] Gateway
        "Series of a family that are more than are shown, 20,000.";
}

const HEAD: &str = "\
# Metrics

`dsbus gateway` answers `GET /metrics` for [Prometheus](https://prometheus.io) and whatever reads its format: OpenMetrics 1.0 for who asks for `application/openmetrics-text`, the older text format for all others.
How to scrape, alerts, and a dashboard for Grafana are in [examples/prometheus](../examples/prometheus) and [examples/grafana](../examples/grafana).

Made from the code: `./run metrics` writes it anew.

- Every series has the label `fleet`. Whoever scrapes several gateways of one fleet sees each family of the fleet once for each of them.
- Where users are named, a monitor says who it is, by HTTP Basic; a viewer is enough.
- What the column \"counted by\" names begins a counter at 0 when it starts, which `rate()` and `increase()` of Prometheus expect. What daemons count of themselves goes on over restarts of the gateway.
- Daemons are asked with each answer, for a second at most, and not again within a second, however many ask. One that does not answer is left out, and so is one of a version that does not count.
- What instances use is asked of all workers every 15 s, while somebody looks: for five minutes after an answer here. The first answer waits for it, for a second at most.
- A family has 20,000 series at most; `dsbus_gateway_series_left_out` says how many more there were. Failovers that are measured at once are 20,000 at most.
- `program`, `worker`, `scheduler`, and `name` of an instance (`web:0`) are names, so that there are as many values as the fleet has. (Prometheus itself puts a label `instance` on whatever it scrapes: the gateway.) The others have few: `state`, `cause`, `kind`, `type`, `route`, `code`.

";

/// `docs/metrics.md`.
pub(crate) fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(
        "| name | type | labels | counted by | what |\n| --- | --- | --- | --- | --- |\n",
    );
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|name| format!("`{name}`")).collect();
        let (name, kind, by) = (family.full_name(), family.kind.as_str(), family.counted.words());
        // Writing to text cannot fail.
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {} | {by} | {} |",
            labels.join(", "),
            family.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let names: BTreeSet<String> = FAMILIES.iter().map(|family| family.full_name()).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            let name = family.full_name();
            assert!(name.starts_with("dsbus_"), "{name}");
            assert!(family.help.ends_with('.'), "{name}");
            assert!(!family.labels.contains(&"fleet"), "{name}: it has that anyway");
            assert!(
                !family.name.ends_with("_total") && !family.name.ends_with("_seconds"),
                "{name}"
            );
        }
        assert!(names.contains("dsbus_instance_cpu_seconds_total"));
    }
}
