//! The units of systemd that packages bring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fleet::{DSBUS, said};

/// Most that `systemd-analyze security` may find open, in tenths, where a unit has a sandbox. The rest
/// is that they speak on the network.
const EXPOSURE_MAX: &str = "--threshold=15";

fn units() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "service"));
    let mut units: Vec<_> = files
        .map(|path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    units.sort();
    units
}

fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn units_start_what_there_is_and_wait_until_it_is_ready() {
    let units = units();
    let names: Vec<_> = units.iter().map(|(name, _)| name.as_str()).collect();
    let daemons = ["alert", "gateway", "scheduler", "worker"];
    assert_eq!(names, daemons.map(|what| format!("dsbus-{what}.service")));
    for (name, unit) in &units {
        let start = values(unit, "ExecStart");
        let words = start[0].strip_prefix("/usr/bin/dsbus ").unwrap();
        let words = words.strip_suffix(" $DSBUS_OPTIONS").unwrap();
        // Whatever is wrong with the options is told before the help is.
        let output = Command::new(DSBUS).args(words.split(' ')).arg("--help").output().unwrap();
        assert!(start.len() == 1 && output.status.success(), "{name}: {words}: {}", said(&output));
        for (key, value) in [("Type", "notify"), ("Restart", "always")] {
            assert_eq!(values(unit, key), [value], "{name}: {key}");
        }
        assert_eq!(values(unit, "WatchdogSec").len(), 1, "{name}");
    }
    let worker = &units[3].1;
    for (key, value) in [
        ("Delegate", "yes"),
        // The supervisor stops its children itself.
        ("KillMode", "mixed"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        // One child's end is not the unit's.
        ("OOMPolicy", "continue"),
    ] {
        assert_eq!(values(worker, key), [value], "{key}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_them_and_little_open() {
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("systemd-analyze is missing: the units are not judged by it");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, unit) in units() {
        let path = directory.path().join(&name);
        // It looks whether there is such a binary and such a manual page: here there is none.
        let unit = unit.replace("/usr/bin/dsbus", DSBUS);
        let lines = unit.lines().filter(|line| !line.starts_with("Documentation="));
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let analyze = |words: &[&str]| {
            let mut command = Command::new("systemd-analyze");
            let output = command.args(words).arg(&path).stdin(Stdio::null()).output().unwrap();
            (output.status.success(), said(&output))
        };
        assert_eq!(analyze(&["verify"]), (true, "exit status: 0\n".to_owned()), "{name}");
        if name != "dsbus-worker.service" {
            let (fine, table) =
                analyze(&["security", "--no-pager", "--offline=true", EXPOSURE_MAX]);
            assert!(fine, "{name}: {table}");
        }
    }
}
