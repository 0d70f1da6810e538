//! The fleet in containers, `compose/`: the file is right, and what it says makes a fleet that heals. There
//! need be no container engine: the same commands are run as processes.

mod broken;
mod file;
mod host;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dsbus_harness::wait_until;
use serde_json::Value;

use crate::fleet::{DEADLINE, said};
use host::Host;

/// The schema of compose files, which `./run setup` fetches.
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/compose-spec.json");

#[test]
fn the_file_is_one_of_compose() {
    let schema = fs::read(SCHEMA).expect("the schema of compose files; ./run setup fetches it");
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let file = file::read();
    let wrong: Vec<String> =
        validator.iter_errors(&file).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert_eq!(wrong, Vec::<String>::new());
    // The schema does judge.
    let mut bad = file;
    bad["services"]["w1"]["restarts"] = "always".into();
    assert!(!validator.is_valid(&bad));

    // docker-compose 1.29 knows less than the schema has; where it is installed, it is asked.
    let mut ask = Command::new("docker-compose");
    ask.args(["-f", "compose.yaml", "config", "-q"]).current_dir(file::directory());
    if let Ok(output) = ask.output() {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn containers_have_no_more_than_they_need() {
    let file = file::read();
    assert!(!file.to_string().contains("insecure"));
    for (name, of) in file["services"].as_object().unwrap() {
        assert_eq!(of["read_only"], true, "{name}");
        assert_eq!(of["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(of["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert!(of["privileged"].is_null() && of["network_mode"].is_null(), "{name}");
        // As PID 1 a worker would be spared by the kernel's kill, which is its third enforcer.
        assert!(of["init"] == true || name == "prometheus", "{name}");
        for port in of["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(of["mem_limit"].is_string() || name == "prometheus", "{name}");
        assert!(of["pids_limit"].is_u64() || name == "prometheus", "{name}");
        let daemon = !["auth", "demo", "admin"].contains(&name.as_str());
        assert_eq!(of["healthcheck"]["test"].is_array(), daemon, "{name}");
        assert_eq!(of["restart"] == "unless-stopped", daemon || name == "admin", "{name}");
    }
    // Keys of others are in nobody's reach.
    for service in file::services(&file).iter().filter(|service| service.name != "auth") {
        let keys: Vec<&str> = service
            .mounts
            .iter()
            .filter_map(|(source, _)| source.starts_with("auth").then_some(source.as_str()))
            .collect();
        let own = match service.name.as_str() {
            "n1" | "n2" | "n3" => "auth-nats".to_owned(),
            "s1" | "s2" | "s3" => "auth-scheduler".to_owned(),
            "demo" => "auth-admin".to_owned(),
            name => format!("auth-{name}"),
        };
        assert_eq!(keys, [own], "{}", service.name);
    }
}

/// Where the instances of the demo run.
fn places(host: &Host) -> Result<BTreeSet<String>, String> {
    let rows = host.json(&["status", "counter"]);
    let rows = rows.as_array().cloned().unwrap_or_default();
    let running = rows.iter().filter(|row| row["state"] == "RUNNING");
    let workers: Vec<String> =
        running.map(|row| row["worker"].as_str().unwrap_or_default().to_owned()).collect();
    if workers.len() == 3 { Ok(workers.into_iter().collect()) } else { Err(format!("{rows:?}")) }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_fleet_of_the_file_heals() {
    let mut host = Host::new(&file::read());
    host.up();
    // `compose up` is all that anybody typed.
    wait_until("the demo", DEADLINE * 2, || {
        let seen = places(&host)?;
        if seen == names(&["w1", "w2", "w3"]) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    wait_until("the end of demo", DEADLINE, || {
        if host.completed("demo") { Ok(()) } else { Err(host.log("demo")) }
    });
    for name in ["n1", "s2", "w3", "gateway", "alert"] {
        wait_until(name, DEADLINE, || {
            let check = host.check(name);
            if check.status.success() { Ok(()) } else { Err(said(&check)) }
        });
    }
    let streams = fs::read_to_string(host.volume("auth-nats").join("nats/users.conf")).unwrap();
    assert!(streams.contains("nkey"), "users have keys");
    assert!(!host.volume("auth-nats").join("tls/ca.key").exists());
    // Whoever may ask NATS how it is sees all connections: it answers in its own container only.
    let conf = fs::read_to_string(
        host.volume("auth-nats").join(format!("nats/{}.conf", host.address("n2"))),
    )
    .unwrap();
    let monitor = format!("http: \"{}:{}\"", host.address("n2"), host.port("8222"));
    assert!(conf.contains(&monitor), "{monitor}: {conf}");
    monitor_looks(&host);

    host.kill("w2");
    wait_until("what w2 ran elsewhere", DEADLINE * 2, || {
        let seen = places(&host)?;
        if seen == names(&["w1", "w3"]) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // Its leases end one after the other.
    wait_until("the check of w2 to fail", DEADLINE, || {
        let check = host.check("w2");
        let told = said(&check);
        let fails = check.status.code() == Some(1) && told.contains("no lease of worker w2");
        if fails { Ok(()) } else { Err(told) }
    });
    wait_until("somebody to be told", DEADLINE, || {
        let told = fs::read_to_string(host.volume("alert").join("alerts")).unwrap_or_default();
        if told.contains("w2") { Ok(()) } else { Err(format!("{told}{}", host.logs())) }
    });
    host.kill("alert");
    wait_until("the check of alert to fail", DEADLINE, || {
        let check = host.check("alert");
        let told = said(&check);
        if told.contains("no lease of alert alert") { Ok(()) } else { Err(told) }
    });
}

/// Prometheus sees the metrics with the password that was handed out to it.
fn monitor_looks(host: &Host) {
    let password =
        fs::read_to_string(host.volume("auth-monitor").join("monitor.password")).unwrap();
    let url = format!("http://127.0.0.1:{}/metrics", host.port("9001"));
    let who = STANDARD.encode(format!("monitor:{}", password.trim()));
    wait_until("the metrics", DEADLINE, || {
        let ask = ureq::get(&url).header("Authorization", format!("Basic {who}"));
        let mut answer = ask.call().map_err(|e| e.to_string())?;
        let metrics = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
        if metrics.contains("dsbus_") { Ok(()) } else { Err(metrics) }
    });
    assert!(ureq::get(&url).call().is_err(), "others are refused");
}

#[test]
fn prometheus_takes_its_configuration() {
    let place = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(file::directory().join("config/prometheus.yml")).unwrap();
    let rules = file::directory().join("../examples/prometheus/alerts.yml");
    let password = place.path().join("monitor.password");
    fs::write(&password, "secret").unwrap();
    // As compose.yaml mounts them.
    let text = text
        .replace("/etc/prometheus/alerts.yml", rules.to_str().unwrap())
        .replace("/etc/prometheus/dsbus/monitor.password", password.to_str().unwrap());
    assert!(!text.contains("/etc/prometheus"), "{text}");
    let path = place.path().join("prometheus.yml");
    fs::write(&path, text).unwrap();
    let output = Command::new(promtool()).args(["check", "config"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

fn promtool() -> std::path::PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}
