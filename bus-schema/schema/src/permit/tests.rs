use super::*;
use crate::filter::Filter;
use crate::ids::WorkerName;

fn of(name: &str, role: &Role) -> Permissions {
    permissions(&FleetName::default(), name, role, &["audit".to_owned()])
}

fn roles() -> Vec<(&'static str, Role)> {
    let filter = Filter::parse(&["process.*"], &[], &[]).unwrap();
    let worker = WorkerName::parse("w1").unwrap();
    vec![
        ("scheduler", Role::Scheduler),
        ("gateway", Role::Gateway),
        ("viewer", Role::Viewer),
        ("ann", Role::Operator(Deed::all())),
        ("w1", Role::Worker { worker: worker.clone(), listeners: false }),
        ("w1", Role::Worker { worker, listeners: true }),
        ("audit", Role::Listener(filter)),
        ("ops", Role::Alert(crate::ids::ProgramName::parse("ops").unwrap())),
    ]
}

#[test]
fn nobody_may_do_everything_anywhere() {
    for (name, role) in roles() {
        let Permissions { publish, subscribe, .. } = of(name, &role);
        for subject in publish.iter().chain(&subscribe) {
            let root = subject.split('.').take(2).collect::<Vec<_>>().join(".");
            let inbox = root == "_INBOX.>" || root.starts_with("_INBOX.");
            assert!(!root.contains(['*', '>']) || inbox, "{role:?}: {subject}");
            assert!(!subject.contains("STREAM.DELETE") && !subject.contains("PURGE"), "{subject}");
        }
    }
}

#[test]
fn answers_come_to_ones_own_inbox_only() {
    let mut all = Vec::new();
    for (name, role) in roles() {
        let hears = of(name, &role).subscribe;
        let inboxes: Vec<_> =
            hears.iter().filter(|subject| subject.starts_with("_INBOX")).cloned().collect();
        assert_eq!(inboxes, [format!("_INBOX.{}.{name}.>", role.name())]);
        all.extend(inboxes);
    }
    all.dedup();
    assert_eq!(all.len(), roles().len() - 1, "the worker is there twice");
}

#[test]
fn listeners_read_what_they_asked_for_however_it_is_written() {
    let subject = |events: &[&str], programs: &[&str]| {
        let filter = Filter::parse(events, programs, &[]).unwrap();
        listener_subject(&FleetName::default(), &filter)
    };
    let all = subject::events(&FleetName::default());
    assert_eq!(subject(&["*"], &[]), all);
    assert!(subject(&["process.*"], &[]).ends_with(".event.*.process.>"));
    assert!(subject(&["process.FATAL"], &["web"]).ends_with(".event.*.process.web.*.FATAL"));
    assert_eq!(subject(&["process.FATAL", "worker.LOST"], &[]), all, "one subject has no less");
}

#[test]
fn deeds_are_read_back_and_looking_is_none() {
    for deed in Deed::all() {
        assert_eq!(Deed::parse(deed.name()), Some(deed));
    }
    for no in ["status", "log", "", "fly"] {
        assert_eq!(Deed::parse(no), None, "{no}");
    }
}
