//! Letters to several recipients, what is told of dead ones, and records that cannot be read.

use super::*;
use crate::spec::Target;

/// A rule that is told to these addresses.
fn mail(to: &[&str]) -> Arc<Spec> {
    let table = |value: Value| value.as_object().unwrap().clone();
    let rule = table(json!({ "name": "r", "events": "FATAL", "send": "ops", "group_wait": 0 }));
    let target = table(json!({ "type": "mail", "to": to }));
    let around = Around {
        variable: &|_| None,
        path: &|text| Ok(PathBuf::from(text)),
        host: "here".to_owned(),
    };
    let found = read(&[rule], &[("ops".to_owned(), target)], &around);
    assert_eq!(found.problems, []);
    Arc::new(found.spec)
}

fn goes_to(letters: &[Letter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.to.as_deref().unwrap_or_default()).collect()
}

#[test]
fn each_recipient_has_a_letter_of_its_own() {
    let mut desk = Desk::new(&json!([]));
    desk.core.adopt(mail(&["ann@x.org", "Bob <bob@x.org>", "ann@x.org"]), at(0));
    desk.hear(&fatal("web", 0, "w1"), 0);
    desk.core.tick(at(0));
    desk.write();
    let told = desk.told();
    assert_eq!(goes_to(&told), ["ann@x.org", "Bob <bob@x.org>"], "one that is named twice has one");
    assert_eq!(told[0].news.id, told[1].news.id, "it is one message");
    // Who is called otherwise is the same; who is not in the file any more gets nothing.
    desk.core.adopt(mail(&["Robert <bob@x.org>", "eve@x.org"]), at(1));
    let dead: Vec<_> = desk.core.buried.values().map(|dead| dead.why.as_str()).collect();
    assert_eq!(dead, ["target.ops of the file has no recipient ann@x.org any more"]);
    assert_eq!(desk.core.counts(), (1, 1));

    let one = mail(&["ann@x.org"]);
    assert_eq!(one.targets.iter().map(Target::recipients).collect::<Vec<_>>(), [[None]]);
    desk.core.adopt(one, at(2));
    desk.hear(&fatal("db", 0, "w1"), 2);
    desk.core.tick(at(2));
    desk.write();
    assert_eq!(goes_to(&desk.told()), [""], "to whoever is in the file when it is tried");
    // Others come into the file, or it was posted by a version that sent one letter to all.
    desk.spec = mail(&["ann@x.org", "eve@x.org"]);
    desk.crash(3);
    desk.write();
    let mut letters = desk.told();
    letters.retain(|letter| letter.news.labels["program"] == "db");
    letters.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!(goes_to(&letters), ["ann@x.org", "eve@x.org"]);
    desk.crash(4);
    assert_eq!(desk.core.counts().0, 2, "what they were made of is gone");
}

#[test]
fn a_dead_letter_is_told_until_that_is_written_down() {
    let mut desk = Desk::new(&one_rule(&json!({ "group_wait": 0 })));
    desk.hear(&fatal("web", 0, "w1"), 0);
    desk.core.tick(at(0));
    desk.write();
    let id = desk.told().len() as u64;
    assert_eq!(id, 1);
    let id = *desk.core.letters.keys().next().unwrap();
    desk.core.died(id, "gone".to_owned(), true, at(1));
    assert_eq!(desk.core.take_deaths(), [], "nothing is written yet");
    desk.write();
    let deaths = desk.core.take_deaths();
    assert_eq!((deaths.len(), deaths[0].1.told), (1, false));
    assert_eq!(desk.core.take_deaths(), [], "given out once");
    for seconds in 2..4 {
        desk.crash(seconds);
        assert_eq!(desk.core.take_deaths(), deaths, "whoever goes on tells of it");
    }
    desk.core.told(id);
    desk.write();
    assert_eq!(desk.bus[&AlertKey::Dead(id)].get("told"), None, "as it was before there was told");
    desk.crash(4);
    assert_eq!((desk.core.take_deaths(), desk.core.counts()), (vec![], (0, 1)));
    // One that was forgotten or tried again meanwhile is not written anew.
    desk.core.told(id);
    assert_eq!(desk.core.dirty().len(), 0);
}

#[test]
fn what_cannot_be_read_is_not_written_over() {
    let rule = json!({ "group_wait": 0, "quiet": 0, "rate_limit": "1/60s" });
    let mut desk = Desk::new(&one_rule(&rule));
    desk.hear(&fatal("web", 0, "w1"), 0);
    assert_eq!(desk.tick(0).len(), 1);
    let ours: Vec<AlertKey> = desk.bus.keys().cloned().collect();
    assert_eq!(ours.len(), 2, "a group and a limit: {ours:?}");
    // A newer version was here, and wrote all of them its own way.
    let newer = json!({ "of": "a newer version" });
    let all = [&ours[..], &[AlertKey::Lost]].concat();
    for key in &all {
        desk.bus.insert(key.clone(), newer.clone());
    }
    let mut core = Core::default();
    for key in &all {
        core.fold(key, Some(newer.to_string().as_bytes())).unwrap_err();
    }
    core.adopt(Arc::clone(&desk.spec), at(1));
    desk.core = core;
    for seconds in 1..4 {
        desk.hear(&fatal("web", 0, "w1"), seconds);
        assert_eq!(desk.tick(seconds).len(), 1, "it is told nevertheless, and without a limit");
    }
    for n in 0..=DEAD_LETTERS_MAX as u128 {
        desk.core.dead.insert((at(0), Uuid::from_u128(n)));
    }
    desk.hear(&fatal("web", 0, "w1"), 9);
    desk.core.tick(at(9));
    desk.write();
    let id = *desk.core.letters.keys().next().unwrap();
    desk.core.died(id, "gone".to_owned(), true, at(9));
    desk.write();
    for key in &all {
        assert_eq!(desk.bus[key], newer, "{key:?}");
    }
    // What it is beside is known again after a crash, until it can be read or is gone.
    let AlertKey::Group(rule, id) = &ours[0] else { panic!("{ours:?}") };
    let group = (rule.clone(), *id);
    assert_ne!(desk.core.beside(group.clone()), group);
    assert!(desk.core.groups.contains_key(&desk.core.beside(group.clone())));
    desk.core.fold(&ours[0], None).unwrap();
    assert_eq!(desk.core.beside(group.clone()), group);
}
