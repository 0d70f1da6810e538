//! Whole trees of real processes, each test in a process of its own, which is their reaper.

use std::collections::HashSet;

use super::tree::{self, ChildIdentity};
use super::{leftovers, stat};
use crate::spawn;
use crate::spawn::tests::{Place, alone, script};

fn identity(place: &Place, pid: i32) -> ChildIdentity {
    let mark = leftovers::mark(&place.incarnation.to_string(), 1);
    ChildIdentity { pid, mark }
}

/// Sleepers that live, by their argument.
fn sleepers() -> HashSet<String> {
    let lives = |pid: &i32| stat(*pid).is_some_and(|stat| stat.alive);
    let words = |pid: i32| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
    let named = super::all().filter(lives).filter_map(words).filter_map(|words| {
        let mut words = words.split(|byte| *byte == 0);
        let is = words.next()? == b"sleep";
        let word = String::from_utf8_lossy(words.next()?).into_owned();
        is.then_some(word)
    });
    named.collect()
}

fn until(mut is: impl FnMut() -> bool) {
    while !is() {
        std::thread::yield_now();
    }
}

fn reap(known: &mut HashSet<i32>) {
    while let Some(reaped) = spawn::reap() {
        known.remove(&reaped.pid);
    }
}

/// Numbers that no other test's sleepers have, also of tests that run elsewhere on this machine.
fn base(kind: u32) -> u32 {
    kind * 100_000_000 + std::process::id() * 10
}

/// A shell that starts what hides: in a session of its own, double-forked, with no environment. And
/// the numbers of its sleepers.
fn hiders(base: u32) -> (String, Vec<String>) {
    let names: Vec<_> = (1..=5).map(|n| (base + n).to_string()).collect();
    let [apart, naked, below, above, near] = [1, 2, 3, 4, 5].map(|n| base + n);
    let text = format!(
        "(setsid sleep {apart} &); (setsid env -i sleep {naked} &); \
         setsid sh -c 'sleep {below} & exec sleep {above}' & sleep {near} & wait"
    );
    (text, names)
}

/// What nothing finds has to be told by its number.
fn kill_sleepers(names: &[String]) {
    let is_one = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        names.iter().any(|name| words == format!("sleep\0{name}\0").as_bytes())
    };
    super::all().filter(is_one).for_each(super::kill_one);
}

fn gone(names: &[String]) -> bool {
    let left = sleepers();
    !names.iter().any(|name| left.contains(name))
}

fn all_there(names: &[String]) -> bool {
    let there = sleepers();
    names.iter().all(|name| there.contains(name))
}

#[test]
fn a_living_child_is_killed_with_all_that_hides() {
    if !alone("process::tests::a_living_child_is_killed_with_all_that_hides") {
        return;
    }
    spawn::adopt_orphans();
    let place = Place::new();
    let (text, mut names) = hiders(base(1));
    // What has neither a mark nor a near relative cannot be told from another child's.
    let unmarked = names.remove(1);
    let pid = place.start(&script(&text)).unwrap().pid;
    let other = place.start(&script(&format!("exec sleep {}", base(1) + 9))).unwrap().pid;
    let mut known = HashSet::from([pid, other]);
    until(|| all_there(&names) && sleepers().contains(&unmarked));
    let child = identity(&place, pid);
    let other_is_alive = || stat(other).is_some_and(|stat| stat.alive);
    // The other child has the same mark here, but it is known, and not touched.
    until(|| {
        let left = tree::kill(&child, &known);
        reap(&mut known);
        left == 0
    });
    assert!(gone(&names), "{:?}", sleepers());
    assert!(other_is_alive());
    super::kill_one(other);
    kill_sleepers(&[unmarked]);
}

#[test]
fn what_a_dead_child_left_is_found_and_others_are_spared() {
    if !alone("process::tests::what_a_dead_child_left_is_found_and_others_are_spared") {
        return;
    }
    spawn::adopt_orphans();
    let place = Place::new();
    let neighbour = Place::new();
    let (text, mut names) = hiders(base(2));
    let (spared_text, spared) = hiders(base(3));
    let hidden = names.remove(1);
    let pid = place.start(&script(&text)).unwrap().pid;
    let spared_pid = neighbour.start(&script(&spared_text)).unwrap().pid;
    let mut known = HashSet::from([pid, spared_pid]);
    until(|| all_there(&names) && all_there(&spared));
    super::kill_one(pid);
    until(|| {
        reap(&mut known);
        !known.contains(&pid)
    });
    let child = identity(&place, pid);
    until(|| {
        let left = tree::kill_all(std::slice::from_ref(&child), &known)[0];
        reap(&mut known);
        left == 0
    });
    assert!(gone(&names));
    assert!(all_there(&spared));
    // A fresh worker finds the rest by the run that they belong to, whatever became of its parent.
    assert_eq!(leftovers::sweep("").unwrap(), 0);
    let run = neighbour.incarnation.to_string();
    let left = leftovers::kill(&run);
    assert!(left.contains(&spared_pid) && left.len() >= 5, "{left:?}");
    until(|| {
        reap(&mut known);
        leftovers::kill(&run).is_empty()
    });
    let unmarked = &spared[1];
    assert!(sleepers().contains(unmarked));
    kill_sleepers(&[unmarked.clone(), hidden]);
}
