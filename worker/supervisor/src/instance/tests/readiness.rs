//! RUNNING comes when a child is ready; and one that is unwell is restarted.

use super::*;

fn probe(json: serde_json::Value) -> dsbus_schema::program::Probe {
    serde_json::from_value(json).unwrap()
}

fn answer(s: &mut Scene, question: Question, trouble: Option<&str>, millis: u64) -> Vec<String> {
    let (pid, trouble) = (*s.alive.last().unwrap(), trouble.map(str::to_owned));
    s.feed(Input::Probed { pid, question, trouble }, millis)
}

fn says(s: &mut Scene, word: Word, millis: u64) -> Vec<String> {
    let pid = *s.alive.last().unwrap();
    s.feed(Input::Notified { pid, word }, millis)
}

#[test]
fn it_runs_when_its_probe_is_answered_well() {
    let p = placement(1, |p| {
        p.spec.readiness = Some(probe(serde_json::json!({"exec": "x", "interval": 2})));
    });
    let mut s = Scene::new(&p);
    assert_eq!(s.put(&p, 0), ["spawn e1", "STOPPED -> STARTING", "ask Readiness"]);
    assert!(s.feed(Input::Tick, 1500).is_empty(), "startsecs alone do not do");
    answer(&mut s, Question::Readiness, Some("exit code 1"), 1600);
    assert_eq!(s.status().reason.as_deref(), Some("not ready yet: exit code 1"));
    assert_eq!(s.instance.deadline(), Some(at(3600).boot));
    assert_eq!(s.feed(Input::Tick, 3600), ["ask Readiness"]);
    assert_eq!(answer(&mut s, Question::Readiness, None, 3700), ["STARTING -> RUNNING"]);
    assert_eq!(s.status().reason, None);
}

#[test]
fn one_that_is_never_ready_has_failed_to_start() {
    let p = placement(1, |p| {
        p.spec.notify = true;
        p.spec.start_timeout = Span::from_secs(5);
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    assert_eq!(s.feed(Input::Tick, 5000), ["signal TERM", "STARTING -> STOPPING"]);
    assert_eq!(s.end(Exit::signal(15), 5010), ["STOPPING -> BACKOFF"]);
    let reason = s.status().reason.clone().unwrap();
    assert_eq!(reason, "not ready within 5s: it did not say READY=1");
}

#[test]
fn one_that_ends_before_it_is_ready_has_failed() {
    let p = placement(1, |p| p.spec.notify = true);
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    assert_eq!(s.end(Exit::code(0), 3000), ["STARTING -> BACKOFF"]);
    assert_eq!(s.status().reason.as_deref(), Some("ended before it was ready: exit code 0"));
}

#[test]
fn it_says_ready_and_feeds_its_watchdog() {
    let p = placement(1, |p| {
        p.spec.notify = true;
        p.spec.startsecs = Span::from_secs(0);
        p.spec.watchdog = Some(Span::from_secs(3));
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    assert_eq!(says(&mut s, Word::Ready, 500), ["STARTING -> RUNNING"]);
    assert_eq!(s.instance.deadline(), Some(at(3500).boot));
    assert!(says(&mut s, Word::Alive, 3000).is_empty());
    assert!(s.feed(Input::Tick, 5999).is_empty());
    assert_eq!(s.feed(Input::Tick, 6000), ["signal TERM", "RUNNING -> STOPPING"]);
    let told = s.end(Exit::signal(15), 6010);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
    assert_eq!(s.status().restarts, 1);
}

#[test]
fn bad_answers_in_a_row_restart_it() {
    let p = placement(1, |p| {
        p.spec.liveness = Some(probe(serde_json::json!({"tcp": "a:1", "failures": 2, "delay": 4})));
    });
    let mut s = running(&p, 2000);
    assert_eq!(s.instance.deadline(), Some(at(6000).boot));
    assert_eq!(s.feed(Input::Tick, 6000), ["ask Liveness"]);
    assert_eq!(s.instance.deadline(), None, "an answer is awaited, for as long as it takes");
    assert_eq!(answer(&mut s, Question::Liveness, Some("refused"), 6100), ["ProbeFailed"]);
    assert_eq!(s.notice().reason, "liveness, 1 of 2: refused");
    s.feed(Input::Tick, 16_100);
    assert!(answer(&mut s, Question::Liveness, None, 16_200).is_empty());
    for (millis, told) in [(27_000, 1), (38_000, 3)] {
        s.feed(Input::Tick, millis);
        assert_eq!(answer(&mut s, Question::Liveness, Some("refused"), millis).len(), told);
    }
    assert_eq!(s.status().state, State::Stopping);
    assert_eq!(s.status().reason.as_deref(), Some("unwell: refused (2 times in a row)"));
    assert_eq!(s.end(Exit::code(0), 38_100).len(), 3);
}

#[test]
fn an_answer_about_a_child_that_is_gone_means_nothing() {
    let p = placement(1, |p| p.spec.liveness = Some(probe(serde_json::json!({"tcp": "a:1"}))));
    let mut s = running(&p, 2000);
    s.end(Exit::code(1), 9000);
    let trouble = Some("late".to_owned());
    assert!(
        s.feed(Input::Probed { pid: 101, question: Question::Liveness, trouble }, 9100).is_empty()
    );
}

#[test]
fn a_probe_that_is_declared_later_begins_then() {
    let mut s = running(&placement(1, |_| {}), 2000);
    let p = placement(1, |p| {
        p.revision = 2;
        p.spec.liveness = Some(probe(serde_json::json!({"tcp": "a:1"})));
    });
    s.put(&p, 9000);
    assert_eq!(s.status().revision, 2);
    assert_eq!(s.feed(Input::Tick, 9000), ["ask Liveness"]);
}

#[test]
fn what_it_says_of_itself_is_told_once_a_second() {
    let mut s = running(&placement(1, |_| {}), 2000);
    for millis in 2000..2900 {
        says(&mut s, Word::Status(format!("at {millis}")), millis);
    }
    assert_eq!(s.status().note.as_deref(), Some("at 2000"));
    assert_eq!(s.instance.deadline(), Some(at(3000).boot));
    s.feed(Input::Tick, 3000);
    assert_eq!(s.status().note.as_deref(), Some("at 2899"));
}

#[test]
fn a_daemon_runs_when_its_main_process_is_found() {
    let p = placement(1, |p| p.spec.daemon = true);
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    assert!(s.feed(Input::Tick, 1500).is_empty());
    s.alive = vec![4321];
    assert_eq!(s.feed(Input::Adopted { pid: 101, main: 4321 }, 1600), ["STARTING -> RUNNING"]);
    assert_eq!(s.status().pid, Some(4321));
    let stop = placement(1, |p| {
        p.spec.daemon = true;
        p.wanted.run = false;
    });
    assert_eq!(s.put(&stop, 1700), ["signal TERM", "RUNNING -> STOPPING"]);
}

#[test]
fn a_changed_executable_restarts_what_wants_it() {
    let mut s = running(&placement(1, |p| p.spec.restart_when_binary_changed = true), 2000);
    let told = s.feed(Input::BinaryChanged, 3000);
    assert_eq!(told, ["BinaryChanged", "signal TERM", "RUNNING -> STOPPING"]);
    assert!(s.feed(Input::BinaryChanged, 3001).is_empty());
    assert_eq!(s.end(Exit::code(0), 3100).len(), 3);
    let mut s = running(&placement(1, |_| {}), 2000);
    assert!(s.feed(Input::BinaryChanged, 3000).is_empty());
}
