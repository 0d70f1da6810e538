use dsbus_schema::worker::{Capacity, Disk};

use super::*;
use crate::table;

const SECOND: i128 = 1_000_000_000;

fn at(seconds: i128) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * SECOND)
}

fn row(name: &str) -> WorkerRow {
    let disk = |path: &str, available| Disk { path: path.to_owned(), total: 500 << 30, available };
    WorkerRow {
        name: WorkerName::parse(name).unwrap(),
        state: WorkerState::Ready,
        host: format!("rack1-{name}"),
        agent_pid: 1_234_567,
        supervisor_pid: 1_234_566,
        instances: 120,
        last_touch: Some(at(98)),
        version: "0.1.0".to_owned(),
        facilities: ["user", "capability CHOWN", "limits.memory", "capability KILL"]
            .map(str::to_owned)
            .to_vec(),
        labels: [("zone".to_owned(), "eu".to_owned()), ("disk".to_owned(), "ssd".to_owned())]
            .into(),
        capacity: Capacity { cpu: 3.5, memory: 8 << 30 },
        facts: Facts {
            at: Some(at(95)),
            cpu_percent: 12.5,
            load: [10.4, 0.25, 0.1],
            cores: 4,
            memory_total: 128 << 30,
            memory_available: 64 << 30,
            disks: vec![disk("/var/lib/dsbus", 250 << 30), disk("/", 20 << 30)],
            uptime_seconds: 864_000,
            kernel: "6.12.0".to_owned(),
            os: "Debian GNU/Linux 13 (trixie)".to_owned(),
            arch: "x86_64".to_owned(),
            addresses: vec![std::net::Ipv4Addr::new(192, 0, 2, 7).into()],
            ..Facts::default()
        },
        refuses: None,
    }
}

fn plain(lines: &[String]) -> Vec<String> {
    let strip = |line: &String| anstream::adapter::strip_str(line).to_string();
    lines.iter().map(|line| strip(line).trim_end().to_owned()).collect()
}

fn shown(rows: &[WorkerRow], width: Option<u16>) -> Vec<String> {
    let cells: Vec<Vec<Text>> = rows.iter().map(|row| cells(row, at(100), Width::Fitted)).collect();
    plain(&table::render(&COLUMNS, &cells, width))
}

#[test]
fn the_table_fits_80_columns_and_uses_120() {
    let rows = [row("w1"), row("w2")];
    let narrow = shown(&rows, Some(80));
    assert_eq!(
        narrow[..2],
        [
            "NAME  STATE  INSTANCES  CPU  MEMORY          LOAD   DISK  TOUCHED  HOST",
            "w1    ready  120        12%  64.0/128.0 GiB  10.40  96%   2s ago   rack1-w1",
        ]
    );
    let wide = shown(&rows, Some(120));
    assert_eq!(
        wide[0],
        "NAME  STATE  INSTANCES  CPU  MEMORY          LOAD   DISK  UPTIME  TOUCHED  HOST      \
         VERSION  LABELS"
    );
    assert!(wide[1].ends_with("0.1.0    disk=ssd,zone=eu"), "{wide:#?}");
    assert!([narrow, wide].iter().all(|lines| lines.len() == 3));
    assert!(shown(&rows, None)[0].contains("SUPERVISOR  AGENT"));
    let whole = cells(&rows[0], at(100), Width::Whole);
    assert_eq!(whole[8].text, "2s ago (1970-01-01 00:01:38 UTC)");
}

#[test]
fn what_a_lost_worker_told_last_is_no_longer_shown_nor_what_an_old_one_never_told() {
    let mut lost = row("w1");
    lost.state = WorkerState::Lost;
    let mut old = row("w2");
    (old.facts, old.last_touch) = (Facts::default(), None);
    let said = shown(&[lost.clone(), old.clone()], Some(80));
    assert!(
        said[1].starts_with("w1    lost   120        -    -       -     -     2s ago"),
        "{said:#?}"
    );
    assert!(said[2].starts_with("w2    ready  120        -    -       -     -     -"), "{said:#?}");
    let told = details::pairs(&lost, at(100));
    let has = |key: &str| told.iter().any(|(name, _)| *name == key);
    assert!(has("system") && !has("memory"), "{told:?}");
}

#[test]
fn details_are_whole_and_fit_the_terminal() {
    let pairs = details::pairs(&row("w1"), at(100));
    let said = plain(&table::list(&pairs, None));
    assert_eq!(
        said,
        [
            "name          w1",
            "state         ready",
            "instances     120",
            "touched       2s ago (1970-01-01 00:01:38 UTC)",
            "labels        disk=ssd, zone=eu",
            "capacity      3.5 cores, 8.0 GiB",
            "host          rack1-w1",
            "cpu           12.5 % of 4 cores",
            "load          10.40 0.25 0.10 (of 1, 5 and 15 minutes)",
            "memory        64.0/128.0 GiB used",
            "swap          none",
            "disk          250.0/500.0 GiB used, /var/lib/dsbus",
            "disk          480.0/500.0 GiB used, /",
            "uptime        10d 0h",
            "system        Debian GNU/Linux 13 (trixie), Linux 6.12.0, x86_64",
            "addresses     192.0.2.7",
            "measured      5s ago",
            "can           user, limits.memory",
            "capabilities  CHOWN, KILL",
            "processes     supervisor 1234566, agent 1234567",
            "version       dsbus 0.1.0",
        ]
    );
    let narrow = plain(&table::list(&pairs, Some(40)));
    assert!(narrow.iter().all(|line| line.chars().count() <= 40), "{narrow:#?}");
}

#[test]
fn workers_are_named() {
    let rows = || vec![row("w1"), row("w2")];
    let names = |words: &[&str]| -> Vec<WorkerName> {
        words.iter().map(|word| WorkerName::parse(word).unwrap()).collect()
    };
    let found = named(rows(), &names(&["w2"])).unwrap();
    assert_eq!(found.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["w2"]);
    assert_eq!(named(rows(), &[]).unwrap().len(), 2);
    let failure = named(rows(), &names(&["x9"])).unwrap_err();
    assert_eq!(failure.message, "there is no worker x9");
}
