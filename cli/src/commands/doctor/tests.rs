//! What is made of what was found.

mod healthy;

use std::time::Duration;

use dsbus_client::{Account, Error, Permissions, Server, ServiceInfo, Stream, Subjects, User};
use dsbus_schema::ids::{SecretName, WorkerName};
use dsbus_schema::status::InstanceRow;
use dsbus_schema::storage::Bucket;

use super::facts::{Bus, Facts};
use super::finding::{Finding, Verdict};
use super::judge::judge;
use healthy::{at, facts, healthy, instance, row};

/// What is found besides that which is well.
fn ill(spoil: impl FnOnce(&mut Bus)) -> Vec<Finding> {
    let mut bus = healthy();
    spoil(&mut bus);
    let mut found = judge(&facts(Ok(bus)));
    found.retain(|finding| finding.verdict != Verdict::Good);
    found
}

#[test]
fn a_healthy_fleet_is_well() {
    assert_eq!(ill(|_| {}), []);
    let checks: Vec<_> = judge(&facts(Ok(healthy()))).iter().map(|f| f.check).collect();
    let all = [
        "settings",
        "bus",
        "permissions",
        "jetstream",
        "streams",
        "clocks",
        "schedulers",
        "workers",
        "programs",
        "leftovers",
    ];
    assert_eq!(checks, all);
}

/// A name, what is spoiled, and what is said of it.
type Case = (&'static str, Verdict, fn(&mut Bus), &'static str);

#[test]
fn each_illness_is_found_alone_and_has_a_fix() {
    use Verdict::{Warning, Wrong};
    let cases: [Case; 30] = [
        ("bus", Wrong, |b| b.server = Err(Error::Timeout), "does not answer"),
        ("bus", Warning, |b| server(b).round_trip = Duration::from_millis(300), "300.0 ms"),
        ("bus", Warning, |b| server(b).too_narrow = Some("short".into()), "short"),
        ("permissions", Warning, |b| b.user = Err(Error::Timeout), "does not say"),
        ("permissions", Warning, |b| b.user = Ok(restricted()), "denied are the commands stop"),
        ("jetstream", Warning, |b| b.account = Ok(nearly_full()), "storage 95"),
        ("jetstream", Warning, |b| b.account = Err(denied()), "not known"),
        (
            "streams",
            Wrong,
            |b| b.streams[1].1 = Err(Error::NotProvisioned),
            "missing: KV_dsbus_goals",
        ),
        ("streams", Wrong, |b| b.streams[1].1 = Err(Error::Timeout), "no answer"),
        (
            "streams",
            Wrong,
            |b| of(b, 0).differences = vec!["retention is x".into()],
            "retention is x",
        ),
        (
            "streams",
            Warning,
            |b| of(b, 6).changes = vec!["max_age is 60 s".into()],
            "max_age is 60 s",
        ),
        ("streams", Warning, |b| of(b, 6).behind = vec!["n2".into()], "are behind or away: n2"),
        ("streams", Warning, |b| server(b).servers = 3, "of 3 servers"),
        ("clocks", Warning, |b| b.now = at(130), "differ by 30.0 s"),
        ("clocks", Warning, |b| b.workers[1].0.facts.at = Some(at(160)), "w2 is 60 s ahead"),
        ("clocks", Warning, |b| b.workers[1].0.facts.at = Some(at(10)), "w2 is about 90 s behind"),
        ("schedulers", Wrong, |b| drop(services(b).drain(..2)), "none answers"),
        ("schedulers", Warning, |b| drop(services(b).remove(0)), "s2 is the only one"),
        ("workers", Wrong, |b| b.touched.clear_first(), "w1 on rack1 is lost"),
        ("versions", Warning, |b| services(b)[3].version = "0.2.0".into(), "w2 (0.2.0)"),
        ("disks", Wrong, |b| b.workers[0].0.facts.disks[0].available = 1, "/ on w1"),
        ("disks", Warning, |b| b.workers[0].0.facts.disks[0].available = 5 << 30, "/ on w1"),
        ("cgroups", Warning, |b| b.workers[0].0.facilities.clear(), "not on w1"),
        ("programs", Wrong, |b| b.rows = rows(&["FATAL", "PENDING"]), "2 of 2 instances are not"),
        ("programs", Warning, |b| b.rows = rows(&["PENDING"]), "as it should be: web0:0 (PENDING)"),
        ("programs", Warning, |b| b.rows = Some(Err(Error::Timeout)), "not known"),
        (
            "signers",
            Wrong,
            |b| b.workers[1].0.refuses = Some("what s2".into()),
            "w2 refuses what s2",
        ),
        ("adrift", Wrong, |b| b.placements.clear(), "web:0 on w1"),
        ("ahead", Wrong, |b| b.rows = Some(Ok(vec![held_back()])), "do not fail over: web:0"),
        ("leftovers", Warning, |b| b.statuses[0].1 = instance("gone"), "gone:0 on w1"),
    ];
    for (check, verdict, spoil, said) in cases {
        let found = ill(spoil);
        assert_eq!(found.len(), 1, "{said}: {found:?}");
        assert_eq!((found[0].check, found[0].verdict), (check, verdict), "{found:?}");
        assert!(found[0].text.contains(said), "{said}: {found:?}");
        assert!(found[0].fix.as_ref().is_some_and(|fix| !fix.is_empty()), "{found:?}");
    }
}

#[test]
fn where_nothing_is_stored_little_is_said() {
    let found = ill(|bus| {
        bus.account = Err(Error::NoResponders);
        bus.streams.iter_mut().for_each(|(_, stream)| *stream = Err(Error::NoResponders));
        let buckets = [Bucket::Status, Bucket::Fleet, Bucket::Programs, Bucket::Workers];
        bus.unread = buckets.map(|bucket| (bucket, Error::NoResponders)).to_vec();
        bus.workers.clear();
        services(bus).clear();
    });
    let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["jetstream", "schedulers"], "{found:?}");
    assert!(found[0].text.contains("JetStream is off"), "{found:?}");
}

#[test]
fn a_bus_without_a_fleet_is_one_finding() {
    let found = ill(|bus| {
        bus.streams.iter_mut().for_each(|(_, stream)| *stream = Err(Error::NotProvisioned));
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].text.contains("no such fleet"), "{found:?}");
}

#[test]
fn a_worker_that_was_stopped_is_not_lost() {
    let found = ill(|bus| {
        bus.touched.clear_first();
        bus.workers[0].0.stopping = true;
    });
    assert_eq!(found, []);
}

#[test]
fn leftovers_are_placements_and_consumers_too() {
    let found = ill(|bus| bus.programs.clear());
    let texts: Vec<_> = found.iter().map(|finding| finding.text.as_str()).collect();
    assert!(texts[0].starts_with("placements of what is not declared: web:0 on w1"), "{texts:?}");
    assert!(texts[1].contains("web-"), "{texts:?}");
    assert_eq!(
        ill(|bus| {
            bus.programs.clear();
            bus.unread.push((Bucket::Programs, denied()));
        })
        .len(),
        1,
        "what is not known cannot be said to be left over"
    );
}

#[test]
fn of_what_may_not_be_read_nothing_is_derived() {
    let mut bus = healthy();
    bus.touched.clear();
    bus.user = Ok(restricted());
    bus.account = Err(denied());
    bus.unread = vec![(Bucket::Fleet, denied()), (Bucket::Programs, denied())];
    let role = Some(("viewer".to_owned(), "ann".to_owned()));
    let found = judge(&Facts { role, ..facts(Ok(bus)) });
    let told = found.iter().filter(|f| f.verdict != Verdict::Good).map(|f| f.text.as_str());
    let said = "not known: the viewer ann may not read dsbus_fleet dsbus_programs";
    assert_eq!(told.collect::<Vec<_>>(), [said]);
    let all = format!("{found:?}");
    assert!(!all.contains("lost") && !all.contains("forget") && !all.contains("permit"), "{all}");
}

#[test]
fn without_a_bus_that_is_said() {
    let found = judge(&facts(Err(("cannot reach".to_owned(), "start one".to_owned()))));
    let last = found.last().unwrap();
    assert_eq!((last.check, last.verdict), ("bus", Verdict::Wrong));
    assert_eq!(last.fix.as_deref(), Some("start one"));
}

#[test]
fn this_machine_is_looked_at() {
    let mut facts = facts(Ok(healthy()));
    facts.open_files = vec!["/x.creds".to_owned()];
    facts.open_files_max = Some(256);
    facts.unused = Some("NATS_CREDS is not used".to_owned());
    let found = judge(&facts);
    let warnings = found.iter().filter(|finding| finding.verdict == Verdict::Warning);
    let checks: Vec<_> = warnings.map(|finding| finding.check).collect();
    assert_eq!(checks, ["settings", "secrets", "limits"]);
}

#[test]
fn long_findings_fit_the_terminal() {
    let finding = Finding::wrong("streams", "many words ".repeat(20), "and what to do ".repeat(9));
    for line in finding.lines(Some(80)) {
        let line = anstream::adapter::strip_str(&line).to_string();
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(finding.lines(None).len(), 2);
}

#[test]
fn of_programs_schedulers_tell_if_there_are_any() {
    for rows in [None, Some(Err(Error::NoScheduler)), Some(Err(denied()))] {
        assert_eq!(ill(|bus| bus.rows = rows), []);
    }
    assert_eq!(ill(|bus| bus.rows = Some(Ok(Vec::new()))), []);
    let found = ill(|bus| bus.rows = rows(&["PENDING", "FATAL"]));
    assert!(found[0].text.ends_with("web1:0 (FATAL) web0:0 (PENDING)"), "{found:?}");
    assert!(found[0].fix.as_ref().unwrap().contains("dsbus explain web1:0"), "{found:?}");
}

/// Of instances that are not as they should be.
#[expect(clippy::unnecessary_wraps, reason = "as it is kept")]
fn rows(states: &[&str]) -> Option<Result<Vec<InstanceRow>, Error>> {
    let all = states.iter().enumerate();
    Some(Ok(all.map(|(n, state)| row(&format!("web{n}"), state, false)).collect()))
}

/// An instance that runs, and whose placement knows of more than the bus.
fn held_back() -> InstanceRow {
    let reason = format!("exit code 1; {}", dsbus_scheduler::AHEAD);
    InstanceRow { reason: Some(reason), ..row("web", "RUNNING", true) }
}

trait ClearFirst {
    fn clear_first(&mut self);
}

impl ClearFirst for std::collections::BTreeSet<WorkerName> {
    fn clear_first(&mut self) {
        self.pop_first();
    }
}

fn server(bus: &mut Bus) -> &mut Server {
    bus.server.as_mut().unwrap()
}

fn services(bus: &mut Bus) -> &mut Vec<ServiceInfo> {
    bus.services.as_mut().unwrap()
}

fn of(bus: &mut Bus, number: usize) -> &mut Stream {
    bus.streams[number].1.as_mut().unwrap()
}

fn nearly_full() -> Account {
    Account { storage: (95 << 20, 100 << 20), streams: (7, 0), consumers: (4, 100) }
}

fn denied() -> Error {
    Error::Denied { what: "publish to x".to_owned() }
}

/// Somebody who may look, and not act.
fn restricted() -> User {
    let allow = ["dsbus.default.cmd.>", "dsbus.default.cmdall.>", "$JS.API.>", "$KV.>"]
        .map(str::to_owned)
        .to_vec();
    let deny = vec!["dsbus.*.*.*.stop".to_owned()];
    let publish = Subjects { allow, deny };
    let permissions = Some(Permissions { publish, subscribe: Subjects::default() });
    User { user: "viewer".to_owned(), account: "A".to_owned(), permissions }
}

#[test]
fn secrets_that_workers_lack_are_told() {
    let secret: SecretName = "db".parse().unwrap();
    let mut bus = healthy();
    let of = |bus: Bus| -> Vec<(Verdict, String)> {
        let found = judge(&facts(Ok(bus))).into_iter();
        found.filter(|f| f.check == "secrets").map(|f| (f.verdict, f.text)).collect()
    };
    assert_eq!(of(bus.clone()), [], "where no program names one, nothing is said");
    bus.named.insert("web".parse().unwrap(), [secret.clone()].into());
    for (worker, _) in &mut bus.workers {
        worker.seal_key = Some(format!("X-{}", worker.name));
    }
    let text = "w1 lacks db, and web cannot start there";
    assert_eq!(of(bus.clone()), [(Verdict::Wrong, text.to_owned())]);
    let at = |name: &str| (WorkerName::parse(name).unwrap(), secret.clone());
    bus.secrets.insert(at("w1"), "X-w1".to_owned());
    bus.secrets.insert(at("w2"), "X-before".to_owned());
    let text = "w2 lacks db, which web name";
    assert_eq!(of(bus.clone()), [(Verdict::Warning, text.to_owned())]);
    bus.secrets.insert(at("w2"), "X-w2".to_owned());
    let good = (Verdict::Good, "every worker has what programs name".to_owned());
    assert_eq!(of(bus), [good]);
}
