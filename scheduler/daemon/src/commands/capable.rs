//! Whether the fleet can do what a declaration needs.

use dsbus_planner::View;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::program::{CGROUP, Facility, Problem, ProgramSpec, key_of};
use dsbus_schema::worker::Worker;

/// Workers that are named in a sentence; more are counted.
const NAMED_MAX: usize = 5;

/// What no registered worker can do. Nothing while none has registered: one that can may come.
pub(super) fn problems(spec: &ProgramSpec, view: &View) -> Vec<Problem> {
    let needs = spec.needs();
    let workers: Vec<&Worker> = view.workers().collect();
    if workers.is_empty() || workers.iter().any(|worker| has_all(worker, spec, &needs)) {
        return Vec::new();
    }
    let nobody = |need: &&Facility| workers.iter().all(|worker| !worker.has(need, spec));
    let missing: Vec<&Facility> = needs.iter().filter(nobody).collect();
    if missing.is_empty() {
        let message = format!("no worker has all of {}", needs.join(", "));
        return vec![problem(key_of(&needs[0]), message)];
    }
    let known = named(workers.iter().map(|worker| &worker.name));
    missing
        .into_iter()
        .map(|need| {
            problem(key_of(need), format!("no worker of this fleet has {need} (there is {known})"))
        })
        .collect()
}

/// What is allowed, and will not do all that is expected.
pub(super) fn warnings(spec: &ProgramSpec, view: &View) -> Vec<Problem> {
    let mut found = Vec::new();
    let needs = spec.needs();
    let mine = || view.workers().filter(|worker| spec.machines.contains(&worker.name));
    if mine().next().is_some() && !mine().any(|worker| has_all(worker, spec, &needs)) {
        let known = named(mine().map(|worker| &worker.name));
        found.push(problem("machines", format!("{known} cannot do all of {}", needs.join(", "))));
    }
    let whole = |worker: &Worker| worker.facilities.iter().any(|facility| facility == CGROUP);
    if spec.exclusive && view.workers().next().is_some() && !view.workers().any(whole) {
        let message = "no worker has a cgroup to keep its children in: what a child of it leaves \
                       behind may outlive the deadline";
        let problem = problem("exclusive", message.to_owned());
        found.push(
            problem.hint("let the program keep its processes to itself, or delegate a cgroup"),
        );
    }
    found
}

fn has_all(worker: &Worker, spec: &ProgramSpec, needs: &[Facility]) -> bool {
    needs.iter().all(|need| worker.has(need, spec))
}

fn named<'a>(workers: impl Iterator<Item = &'a WorkerName>) -> String {
    let all: Vec<&str> = workers.map(WorkerName::as_str).collect();
    match all.len() {
        0..=NAMED_MAX => all.join(", "),
        many => format!("{} and {} more", all[..NAMED_MAX].join(", "), many - NAMED_MAX),
    }
}

fn problem(key: &str, message: String) -> Problem {
    Problem::new(key, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_planner::view::Seen;
    use serde_json::json;

    fn workers(all: &[(&str, &[&str])]) -> View {
        let mut view = View::default();
        for (name, facilities) in all {
            let record = json!({
                "name": name, "machine": "m", "boot": uuid::Uuid::nil(), "directory": "/d",
                "host": "h", "incarnation": uuid::Uuid::nil(), "agent_pid": 1,
                "supervisor_pid": 2, "version": "0", "started": "2026-01-01T00:00:00Z",
                "facilities": facilities,
            });
            let value: Worker = serde_json::from_value(record).unwrap();
            view.set_worker(&value.name.clone(), Some(Seen { seq: 1, value }));
        }
        view
    }

    fn spec(keys: &serde_json::Value) -> ProgramSpec {
        ProgramSpec::read(keys.as_object().unwrap()).unwrap()
    }

    fn told(found: &[Problem]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_nobody_has_is_refused() {
        let needy = spec(&json!({
            "command": "x", "user": "ann", "limits": {"memory": "1GB", "pids": 10},
            "capabilities": ["NET_BIND_SERVICE"], "nice": -5,
        }));
        let all: &[&str] = &[
            "user",
            "limits.memory",
            "limits.pids",
            "capability NET_BIND_SERVICE",
            "negative nice",
        ];
        assert_eq!(told(&problems(&needy, &workers(&[]))), [""; 0], "one may come");
        assert_eq!(told(&problems(&needy, &workers(&[("w1", all), ("w2", &[])]))), [""; 0]);
        assert_eq!(
            told(&problems(&needy, &workers(&[("w1", &all[..3]), ("w2", &all[4..])]))),
            [
                "capabilities: no worker of this fleet has capability NET_BIND_SERVICE (there is w1, w2)"
            ]
        );
        assert_eq!(
            told(&problems(&needy, &workers(&[("w1", &all[1..]), ("w2", &all[..1])]))),
            ["user: no worker has all of user, limits.memory, limits.pids, negative nice, \
              capability NET_BIND_SERVICE"]
        );
        let keys = problems(&needy, &workers(&[("w1", &[])]));
        let keys: Vec<&str> = keys.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["user", "limits", "limits", "nice", "capabilities"]);
        let plain = spec(&json!({"command": "x"}));
        assert_eq!(told(&problems(&plain, &workers(&[("w1", &[])]))), [""; 0]);
    }

    #[test]
    fn what_will_not_be_as_expected_is_warned_of() {
        let fleet = workers(&[("w1", &[]), ("w2", &["user"])]);
        let bound = spec(&json!({"command": "x", "user": "ann", "machines": ["w1", "w9"]}));
        assert_eq!(told(&warnings(&bound, &fleet)), ["machines: w1 cannot do all of user"]);
        let free = spec(&json!({"command": "x", "user": "ann", "machines": ["w9"]}));
        assert_eq!(told(&warnings(&free, &fleet)), [""; 0], "it may come");
        let exclusive = spec(&json!({"command": "x", "exclusive": true}));
        assert_eq!(warnings(&exclusive, &fleet)[0].key, "exclusive");
        assert_eq!(told(&warnings(&exclusive, &workers(&[("w1", &[CGROUP])]))), [""; 0]);
    }
}
