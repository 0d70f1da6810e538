//! `/metrics`, the rules and the dashboard that ask for it, and what instances use.

mod matches;
mod scrape;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsbus_harness::wait_until;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;
use scrape::{Form, Scrape, check, promtool};

const PROGRAMS: &str = r#"
    [program.web]
    command = "sleep 1000"
    numprocs = 2
    startsecs = 0
"#;

/// A file of this repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Families of the documentation, and their labels.
fn documented() -> BTreeMap<String, (String, Vec<String>)> {
    let text = std::fs::read_to_string(root("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `dsbus_"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().replace('`', ""));
        let (name, kind) = (cells.next().unwrap(), cells.next().unwrap());
        let labels = cells.next().unwrap();
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (name, (kind, labels.collect()))
    })
    .collect()
}

#[test]
fn a_scrape_is_what_prometheus_reads_and_what_is_documented() {
    let mut fleet = Fleet::start(2, 2);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply(PROGRAMS);
    let counted = [
        "dsbus_worker_touch_duration_seconds_count",
        "dsbus_scheduler_touch_duration_seconds_count",
        "dsbus_scheduler_plan_duration_seconds_count",
        "dsbus_gateway_bus_round_trip_seconds_count",
    ];
    let is_counted = |scrape: &Scrape, name: &str| {
        let all = scrape.all(name);
        !all.is_empty() && all.iter().all(|(_, count)| *count > 0.0)
    };
    // What has just begun to run has no memory yet.
    let runs = |scrape: &Scrape| {
        let all = scrape.all("dsbus_instance_memory_bytes");
        all.len() == 2 && all.iter().all(|(_, memory)| *memory > 100_000.0)
    };
    // The first one waits for what instances use.
    let scrape = wait_until("everything to be there", DEADLINE, || {
        let scrape = Scrape::get(&gateway, Form::Text);
        let is_all = scrape.one("dsbus_instances", &[("program", "web"), ("state", "RUNNING")])
            == Some(2.0)
            && runs(&scrape)
            && counted.iter().all(|name| is_counted(&scrape, name))
            // A scheduler that was slow to answer once is told of until it answers.
            && scrape.one("dsbus_gateway_silent", &[]) == Some(0.0)
            && scrape.all("dsbus_worker_events_published_total").len() == 2
            && scrape.whole("dsbus_scheduler_up") == 2
            // Daemons are asked now and then.
            && scrape.whole("dsbus_worker_instances") == 2;
        if is_all { Ok(scrape) } else { Err(scrape.text) }
    });
    promtool(&["check", "metrics"], &scrape.text);
    let one = |name: &str, labels: &[(&str, &str)]| scrape.one(name, labels);
    assert_eq!(one("dsbus_program_instances_desired", &[("program", "web")]), Some(2.0));
    assert_eq!(one("dsbus_program_instances_ready", &[("program", "web")]), Some(2.0));
    assert_eq!(one("dsbus_workers", &[("state", "ready")]), Some(2.0));
    assert_eq!(one("dsbus_workers", &[("state", "lost")]), Some(0.0));
    assert_eq!(scrape.whole("dsbus_worker_up"), 2);
    assert!(scrape.samples.iter().all(|(_, labels, _)| labels["fleet"] == "default"));

    // Every family is documented, and every documented one is there, with these labels.
    let documented = documented();
    let mut known = BTreeSet::new();
    for (name, (kind, _)) in &documented {
        let name = name.strip_suffix("_total").unwrap_or(name);
        known.insert(name.to_owned());
        assert_eq!(scrape.families.get(name), Some(kind), "{name}");
    }
    assert_eq!(scrape.families.keys().cloned().collect::<BTreeSet<_>>(), known);
    for (name, labels, _) in &scrape.samples {
        let full = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let full = full.filter(|full| documented.contains_key(*full)).unwrap_or(name);
        let (_, wanted) = &documented[full];
        let has: BTreeSet<&str> = labels
            .keys()
            .map(String::as_str)
            .filter(|key| !["fleet", "le"].contains(key))
            .collect();
        assert_eq!(has, wanted.iter().map(String::as_str).collect(), "{name}");
    }
    // The same, in the other form.
    let open = Scrape::get(&gateway, Form::Open);
    assert!(open.text.ends_with("# EOF\n"));
    assert_eq!(open.families, scrape.families);
}

#[test]
fn a_monitor_says_who_it_is_and_a_viewer_is_enough() {
    let mut fleet = Fleet::start(1, 1);
    let users = "[user.monitor]\npassword = \"secret\"\nrole = \"viewer\"\n";
    let file = fleet.file("gateway.toml", users);
    let gateway = Gateway::start(&mut fleet, "g1", &[&file]);
    assert_eq!(gateway.get("/metrics", &[]).code, 401);
    let basic = format!("Basic {}", BASE64_STANDARD.encode("monitor:secret"));
    let answer = gateway.get("/metrics", &[("authorization", &basic)]);
    assert_eq!(answer.code, 200);
    assert!(answer.body.contains("dsbus_gateway_build_info"), "{}", answer.body);
    let refused =
        "dsbus_gateway_requests_total{fleet=\"default\",route=\"/metrics\",code=\"401\"} 1";
    assert!(answer.body.lines().any(|line| line == refused), "{}", answer.body);
}

#[test]
fn what_an_instance_uses_is_known_while_somebody_looks() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply("[program.busy]\ncommand = \"while :; do :; done\"\nshell = true\nstartsecs = 0\n");
    let path = "/api/v1/instances/busy:0/usage";
    wait_until("three samples", DEADLINE, || {
        let answer = gateway.get(path, &[]);
        let body: Value = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
        let samples = body["samples"].as_array().ok_or(answer.body.clone())?;
        let is_busy = |sample: &&Value| {
            sample["cpu"].as_f64().is_some_and(|cpu| cpu > 0.0)
                && sample["memory"].as_u64().is_some_and(|memory| memory > 100_000)
                && sample["at"].as_str().is_some_and(|at| at.ends_with('Z'))
        };
        if samples.iter().filter(is_busy).count() >= 3 { Ok(()) } else { Err(answer.body) }
    });
    let scrape = Scrape::get(&gateway, Form::Text);
    let cpu = scrape.one("dsbus_instance_cpu_seconds_total", &[("name", "busy:0")]);
    assert!(cpu.is_some_and(|cpu| cpu > 0.0), "{cpu:?}");
    let unknown = gateway.get("/api/v1/instances/busy:7/usage", &[]);
    let body: Value = serde_json::from_str(&unknown.body).unwrap();
    assert_eq!((unknown.code, &body["code"]), (404, &json!(404)));
}

#[test]
fn pages_that_follow_the_fleet_are_counted() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let browsers = |wanted: f64| {
        wait_until(&format!("{wanted} pages"), DEADLINE, || {
            // What is sent to a page that is gone shows that it is.
            fleet.ok(&["emit", "hello"]);
            let found = Scrape::get(&gateway, Form::Text).one("dsbus_gateway_browsers", &[]);
            if found == Some(wanted) { Ok(()) } else { Err(found) }
        });
    };
    browsers(0.0);
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut page = TcpStream::connect(address).unwrap();
    write!(page, "GET /api/v1/stream HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    browsers(1.0);
    drop(page);
    browsers(0.0);
}

/// What Prometheus is asked for by the rules and by the dashboard.
fn queries() -> Vec<String> {
    fn expressions(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| expressions(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| expressions(value, found)),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
    let mut found = Vec::new();
    let dashboard = std::fs::read_to_string(root("examples/grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    expressions(&dashboard, &mut found);
    let panels = found.len();
    assert!(panels > 20, "{panels}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        // label_values(QUERY, LABEL)
        let query = variable["query"].as_str().unwrap();
        let query = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
        found.extend(query.map(|(query, _)| query.to_owned()));
    }
    assert_eq!(found.len(), panels + 2);
    let rules = std::fs::read_to_string(root("examples/prometheus/alerts.yml")).unwrap();
    let rules: Value = serde_norway::from_str(&rules).unwrap();
    let before = found.len();
    expressions(&rules, &mut found);
    assert!(found.len() > before + 10);
    found
}

#[test]
fn rules_and_the_dashboard_ask_for_metrics_that_there_are() {
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, (kind, mut labels)) in documented() {
        // What every series has, and what Prometheus gives it.
        labels.extend(["fleet", "instance", "job"].map(str::to_owned));
        if kind == "histogram" {
            let bucket = [labels.clone(), vec!["le".to_owned()]].concat();
            families.insert(format!("{name}_bucket"), bucket);
            families.insert(format!("{name}_sum"), labels.clone());
            families.insert(format!("{name}_count"), labels);
        } else {
            families.insert(name, labels);
        }
    }
    families.insert("up".to_owned(), vec!["job".to_owned(), "instance".to_owned()]);
    let ask = |queries: &[String]| {
        check("queries", &json!({ "queries": queries, "families": families }).to_string())
    };
    assert_eq!(ask(&queries()), "");
    // It can fail.
    let wrong = ["dsbus_nothing", "dsbus_workers{nothing=\"x\"}", "sum("].map(str::to_owned);
    assert_eq!(ask(&wrong).lines().count(), 3, "{}", ask(&wrong));
}

#[test]
fn promtool_takes_the_rules_and_they_fire_when_they_should() {
    let file = |name: &str| root("examples/prometheus").join(name).to_str().unwrap().to_owned();
    promtool(&["check", "rules", &file("alerts.yml")], "");
    promtool(&["check", "config", "--syntax-only", &file("scrape.yml")], "");
    promtool(&["test", "rules", &file("alerts_test.yml")], "");
}

#[test]
fn the_documentation_is_what_the_code_says() {
    let made = dsbus_gateway::metrics::document();
    let stands = std::fs::read_to_string(root("docs/metrics.md")).unwrap();
    assert!(made == stands, "docs/metrics.md is old: ./run metrics, and commit");
}
