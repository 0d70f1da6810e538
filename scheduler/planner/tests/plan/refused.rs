//! What becomes of an instance that a worker's policy does not allow there.

use dsbus_planner::explain::explain;
use dsbus_schema::worker::PolicyFacts;

use crate::world::{World, instance, nothing};

impl World {
    /// From now on a worker has that policy.
    fn set_policy(&mut self, name: &str, policy: PolicyFacts) {
        self.edit_worker(name, |worker| worker.policy = Some(policy));
    }
}

fn policy(digest: &str, users: Option<&[&str]>) -> PolicyFacts {
    PolicyFacts {
        digest: digest.to_owned(),
        user: "root".to_owned(),
        users: users.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        root: users.is_none(),
    }
}

/// What `dsbus explain` says of a worker.
fn verdict(w: &World, name: &str, worker: &str) -> Option<String> {
    let told = explain(&w.view, &instance(name), w.now()).unwrap();
    told.workers.into_iter().find(|it| it.name.as_str() == worker)?.refusal
}

#[test]
fn what_the_record_forbids_is_never_placed_there() {
    let mut w = World::with_workers(2);
    w.set_policy("w1", policy("a", Some(&["app"])));
    w.declare("web", |_| {});
    assert_eq!(w.settle(), ["place web:0 w2"]);
    let why = verdict(&w, "web:0", "w1").unwrap();
    assert!(why.starts_with("refuses it: user is not said, and would be root"), "{why}");
    // Where nobody allows it, it waits, and says who forbids it, and why.
    w.set_policy("w2", policy("b", Some(&[])));
    w.declare("api", |_| {});
    assert_eq!(w.settle(), ["say api:0 PENDING"]);
    assert!(w.reason("api:0").contains("w1, w2 refuse it: user"), "{}", w.reason("api:0"));
    // What runs already stays where it is.
    assert_eq!(w.at("web:0").as_deref(), Some("w2"));
    w.set_policy("w2", policy("c", None));
    assert_eq!(w.settle(), ["place api:0 w2", "unsay api:0"]);
}

#[test]
fn a_refused_instance_goes_elsewhere_and_never_back() {
    let mut w = World::with_workers(3);
    w.refusing.extend(["w1", "w2"]);
    w.declare("web", |s| s.exclusive = true);
    let leaves = |n: u8| ["update web:0 stop r1".to_owned(), format!("remove web:0 w{n}")].to_vec();
    let first = ["place web:0 w1".to_owned(), "refused web:0 w1".to_owned()].to_vec();
    let second = ["place web:0 w2".to_owned(), "refused web:0 w2".to_owned()].to_vec();
    let third = ["place web:0 w3".to_owned()].to_vec();
    assert_eq!(w.settle(), [first, leaves(1), second, leaves(2), third].concat());
    let why = verdict(&w, "web:0", "w1").unwrap();
    assert_eq!(why, "has refused it: env LD_PRELOAD (policy.environment)");
    // It counts as no failure.
    let goal = w.view.goal(&instance("web:0")).cloned().unwrap();
    assert_eq!((goal.fails, goal.failed_on.len(), goal.refused.len()), (0, 0, 2));
    // Its worker dies, and neither of the others is asked again.
    w.lose("w3");
    assert_eq!(w.settle(), nothing());
}

#[test]
fn who_refused_is_asked_again_when_something_is_new() {
    let mut w = World::with_workers(1);
    w.refusing.insert("w1");
    w.declare("web", |_| {});
    let refused = ["place web:0 w1", "refused web:0 w1", "update web:0 stop r1", "remove web:0 w1"];
    assert_eq!(w.settle(), [&refused[..], &["say web:0 PENDING"]].concat());
    assert!(
        w.reason("web:0").contains("w1 has refused it: env LD_PRELOAD"),
        "{}",
        w.reason("web:0")
    );
    // A person asks for a start.
    w.command("web", |goal| {
        goal.run = true;
        goal.starts += 1;
    });
    let again = w.settle();
    assert_eq!(
        (again[1].as_str(), again.last().unwrap().as_str()),
        ("refused web:0 w1", "say web:0 PENDING")
    );
    // A new declaration.
    w.declare("web", |s| s.priority = 7);
    let planned = w.settle();
    assert!(planned.contains(&"refused web:0 w1".to_owned()), "{planned:?}");
    // Another policy, which allows it.
    w.refusing.clear();
    assert_eq!(w.settle(), nothing(), "nobody has said that anything is new");
    w.set_policy("w1", policy("b", None));
    let planned = w.settle();
    assert_eq!(planned[..2], ["place web:0 w1 r2", "unsay web:0"], "{planned:?}");
}

#[test]
fn copies_of_a_system_program_are_left_out_where_they_are_refused() {
    let mut w = World::with_workers(3);
    w.refusing.insert("w2");
    w.declare("agent", |s| s.system = true);
    let planned = w.settle();
    assert_eq!(planned.iter().filter(|it| it.starts_with("place")).count(), 3, "{planned:?}");
    assert_eq!(planned.iter().filter(|it| it.starts_with("refused")).count(), 1, "{planned:?}");
    assert_eq!(
        (w.at("agent:0"), w.at("agent:1"), w.at("agent:2").as_deref()),
        (Some("w1".into()), None, Some("w3"))
    );
}
