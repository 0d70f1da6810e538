//! What is told of workers and their machines, beside what the machine says of itself.

use std::fs;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, DSBUS, Fleet, said};

/// A number of `/proc/meminfo`, in bytes.
fn memory(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn loads() -> Vec<f64> {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).map(|word| word.parse().unwrap()).collect()
}

/// What `stat -f` says of a directory's file system: its size, and what is free for users, in bytes.
fn disk(path: &str) -> (f64, f64) {
    let output =
        std::process::Command::new("stat").args(["-f", "-c", "%S %b %a", path]).output().unwrap();
    let numbers: Vec<f64> = String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    (numbers[0] * numbers[1], numbers[0] * numbers[2])
}

/// Whether `told` lies within `slack` of what was so before it was looked for or was so after.
fn near(told: &Value, before: f64, after: f64, slack: f64) -> Result<(), String> {
    let told = told.as_f64().unwrap();
    let (low, high) = (before.min(after) - slack, before.max(after) + slack);
    if (low..=high).contains(&told) { Ok(()) } else { Err(format!("{told} in {low}..{high}")) }
}

#[test]
fn facts_are_within_5_percent_of_what_the_machine_says() {
    let fleet = Fleet::start(1, 1);
    let state = fleet.worker_directory("w1").display().to_string();
    let look = || (memory("MemAvailable"), memory("SwapFree"), loads(), disk(&state));
    // The facts are some seconds old, and other tests keep the machine busy: they are compared
    // again and again, each time with what was so when they were measured and when they were read.
    let mut before = look();
    let mut at = Value::Null;
    wait_until("facts near those of /proc", DEADLINE * 3, || {
        let row = fleet.worker_row("w1");
        let facts = &row["facts"];
        let (total, swap) = (memory("MemTotal"), memory("SwapTotal"));
        let now = look();
        if facts["at"] != at {
            // Told between the last look and this one.
            at = facts["at"].clone();
            let five = |number: f64| number * 0.05;
            near(&facts["memory_total"], total, total, 0.0)?;
            near(&facts["swap_total"], swap, swap, 0.0)?;
            near(&facts["memory_available"], before.0, now.0, five(total))?;
            near(&facts["swap_free"], before.1, now.1, five(swap))?;
            for (n, load) in facts["load"].as_array().unwrap().iter().enumerate() {
                near(load, before.2[n], now.2[n], five(now.2[n]) + 0.5)?;
            }
            let told = &facts["disks"][0];
            assert_eq!(told["path"], state.as_str());
            near(&told["total"], before.3.0, now.3.0, 0.0)?;
            near(&told["available"], before.3.1, now.3.1, five(now.3.0))?;
            return Ok(());
        }
        before = now;
        Err("nothing new is told".to_owned())
    });
    let row = fleet.worker_row("w1");
    let facts = &row["facts"];
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    near(&facts["uptime_seconds"], uptime - 70.0, uptime, 1.0).unwrap();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(facts["kernel"], kernel.trim());
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let cores = stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    assert_eq!(facts["cores"], cores);
    assert!((0.0..=100.0).contains(&facts["cpu_percent"].as_f64().unwrap()), "{facts}");
    let capacity = &row["capacity"];
    assert!(capacity["cpu"].as_f64().unwrap() <= f64::from(u32::try_from(cores).unwrap()));
    near(&capacity["memory"], 1.0, memory("MemTotal"), 0.0).unwrap();
    let table = fleet.ok(&["workers"]);
    assert!(table.lines().nth(1).unwrap().contains("GiB") || table.contains("MiB"), "{table}");
    let details = fleet.ok(&["workers", "w1"]);
    assert!(details.contains(kernel.trim()) && details.contains(&state), "{details}");
    assert!(fleet.fails(1, &["workers", "w2"]).contains("there is no worker w2"));
}

#[test]
fn labels_and_capacity_reach_people_and_are_read_again_on_a_hup() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let directory = fleet.worker_directory("w1");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("worker.toml");
    let write = |zone: &str| {
        let text = format!("[labels]\nzone = \"{zone}\"\ndisk = \"ssd\"\n[capacity]\ncpu = 1.5\n");
        // Whole at once: the worker may be reading it because of an earlier signal.
        let new = directory.join("worker.toml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &file).unwrap();
    };
    write("eu");
    fleet.worker_with("w1", &["--label", "disk=nvme"]);
    fleet.wait_ready(1);
    let row = fleet.worker_row("w1");
    assert_eq!(row["labels"], json!({"zone": "eu", "disk": "nvme"}));
    assert_eq!(row["capacity"]["cpu"], 1.5);
    assert!(row["capacity"]["memory"].as_u64().unwrap() > 0);
    write("us");
    fleet.signal("w1", Signal::SIGHUP);
    wait_until("the new label", DEADLINE, || {
        let row = fleet.worker_row("w1");
        let is = row["labels"] == json!({"zone": "us", "disk": "nvme"});
        if is { Ok(()) } else { Err(row.to_string()) }
    });
    // A mistake changes nothing, and the worker goes on.
    write("us\\n");
    fleet.signal("w1", Signal::SIGHUP);
    wait_until("the mistake to be told", DEADLINE, || {
        let logs = [fleet.log("w1"), directory.join("worker.log")];
        let logs = logs.map(|log| fs::read_to_string(log).unwrap_or_default()).concat();
        if logs.contains("the old one stays") { Ok(()) } else { Err(logs) }
    });
    let check = std::process::Command::new(DSBUS)
        .args(["worker", "--check-config", "--label", "disk=nvme", "--dir"])
        .arg(&directory)
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(2));
    assert!(said(&check).contains("holds a control character"), "{}", said(&check));
    write("us");
    let mut command = std::process::Command::new(DSBUS);
    command.args(["worker", "--check-config", "--label", "disk=nvme", "--drain", "--dir"]);
    let check = String::from_utf8(command.arg(&directory).output().unwrap().stdout).unwrap();
    for expected in [
        "labels           = { disk = \"nvme\", zone = \"us\" }",
        "line 1, and --label",
        "capacity         = { cpu = 1.5 }",
        "drain            = true",
    ] {
        assert!(check.contains(expected), "{check}");
    }
    assert_eq!(fleet.worker_row("w1")["labels"]["zone"], "us");
}
