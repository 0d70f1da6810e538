//! Who a child is, and what it may do.

use super::*;

fn as_user(user: &str, text: &str) -> ProgramSpec {
    ProgramSpec { user: Some(user.to_owned()), ..script(text) }
}

#[test]
fn it_runs_as_its_user_with_all_groups() {
    let place = Place::new();
    if !root(&place) {
        return;
    }
    let text = "id -u; id -g; echo $USER $LOGNAME $HOME; grep ^Groups: /proc/self/status";
    let account = place.machine.accounts.find("daemon").unwrap();
    let said = place.said(&as_user("daemon", text));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], [account.uid.to_string(), account.gid.to_string()]);
    let home = account.home.unwrap();
    assert_eq!(lines[2], format!("daemon daemon {}", home.display()));
    let mut groups: Vec<u32> =
        lines[3]["Groups:".len()..].split_whitespace().map(|g| g.parse().unwrap()).collect();
    groups.sort_unstable();
    let mut expected = account.groups;
    expected.sort_unstable();
    assert_eq!(groups, expected);
    let said = place.said(&as_user("54321:7", "id -u; id -g; echo ${USER-none}"));
    let inherited = std::env::vars().find(|(k, _)| k == "USER").map(|(_, v)| v);
    assert_eq!(said, format!("54321\n7\n{}\n", inherited.as_deref().unwrap_or("none")));
}

#[test]
fn a_parent_death_signal_survives_the_change_of_user_and_the_worker_stays_dumpable() {
    const NAME: &str = "spawn::tests::identity::\
        a_parent_death_signal_survives_the_change_of_user_and_the_worker_stays_dumpable";
    // A worker has one thread; here other tests start children at the same time.
    if !alone(NAME) {
        return;
    }
    let place = Place::new();
    if !root(&place) {
        return;
    }
    // PR_GET_PDEATHSIG is 2 and PR_GET_DUMPABLE is 3 (linux/prctl.h).
    let text = "import ctypes; n = ctypes.c_int(); l = ctypes.CDLL(None); \
                l.prctl(2, ctypes.byref(n)); print(n.value)";
    let mut spec = as_user("nobody", "");
    spec.command = Command::Words(["/usr/bin/python3", "-c", text].map(str::to_owned).to_vec());
    if Path::new("/usr/bin/python3").exists() {
        assert_eq!(place.said(&spec), "9\n");
    }
    place.said(&as_user("nobody", "true"));
    // SAFETY: asks for a number.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 1);
}

#[test]
fn capabilities_are_kept_over_the_change_of_user() {
    let place = Place::new();
    let wanted = "NET_BIND_SERVICE".parse().unwrap();
    if !root(&place) || !place.machine.capabilities.can_be_given(wanted) {
        return;
    }
    let mut spec = as_user("nobody", "grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status");
    spec.capabilities = vec![wanted];
    let said = place.said(&spec);
    assert_eq!(said.matches("0000000000000400").count(), 3, "{said}");
    spec.capabilities.clear();
    assert_eq!(place.said(&spec).matches("0000000000000000").count(), 3);
    let missing = (0..64).filter_map(dsbus_schema::program::Capability::from_number);
    let missing = missing.into_iter().find(|c| !place.machine.capabilities.can_be_given(*c));
    if let Some(missing) = missing {
        spec.capabilities = vec![wanted, missing];
        let why = place.start(&spec).unwrap_err();
        assert!(why.starts_with(&format!("capability {missing} is refused")), "{why}");
    }
}

#[test]
fn limits_and_priorities_are_set() {
    let mut place = Place::new();
    place.settings.nofile = Some("300:400".parse().unwrap());
    place.settings.umask = Some("077".parse().unwrap());
    let text = "ulimit -Sn; ulimit -Hn; ulimit -c; nice; cat /proc/self/oom_score_adj; umask";
    let mut spec = script(text);
    spec.rlimits.insert("core".into(), "0".parse().unwrap());
    (spec.nice, spec.oom_score_adj) = (Some(7), Some(500));
    assert_eq!(place.said(&spec), "300\n400\n0\n7\n500\n0077\n");
    spec.rlimits.insert("nofile".into(), "50:60".parse().unwrap());
    spec.umask = Some("007".parse().unwrap());
    assert_eq!(place.said(&spec), "50\n60\n0\n7\n500\n0007\n");
}

#[test]
fn what_the_policy_bounds_holds_for_those_that_declare_nothing() {
    let mut place = Place::new();
    let bounds = [("nofile", 250), ("nproc", u64::MAX - 1), ("core", 5)];
    let bounds = bounds.map(|(name, most)| (name.to_owned(), most));
    place.settings.policy.limits.rlimits = bounds.into();
    place.settings.nofile = Some("200:400".parse().unwrap());
    place.settings.core = Some("unlimited".parse().unwrap());
    let mut spec = script("ulimit -Sn; ulimit -Hn; prlimit --core --output SOFT,HARD --noheadings");
    assert_eq!(place.said(&spec), "200\n250\n   5    5\n");
    let greatest = |text: &str| script(&format!("prlimit --nproc --output {text} --noheadings"));
    let own = std::process::Command::new("prlimit")
        .args(["--nproc", "--output", "SOFT", "--noheadings"])
        .output();
    let own = String::from_utf8(own.unwrap().stdout).unwrap();
    if own.trim() != "unlimited" {
        assert_eq!(place.said(&greatest("SOFT")).trim(), own.trim(), "a bound raises nothing");
    }
    // What is declared was judged before.
    spec.rlimits.insert("nofile".into(), "50:60".parse().unwrap());
    assert!(place.said(&spec).starts_with("50\n60\n"));
    place.settings.nofile = None;
    place.settings.policy.limits.rlimits = [("nofile".to_owned(), 10)].into();
    assert!(place.said(&script("ulimit -Sn; ulimit -Hn")) == "10\n10\n");
}

#[test]
fn what_the_worker_may_not_do_is_told() {
    let place = Place::new();
    if place.machine.capabilities.effective("SYS_RESOURCE") {
        eprintln!("this worker may do everything: nothing is tested");
        return;
    }
    let mut spec = script("true");
    spec.oom_score_adj = Some(-500);
    let why = place.start(&spec).unwrap_err();
    assert!(why.starts_with("oom_score_adj -500 is refused") && why.contains("SYS_RESOURCE"));
    let mut spec = script("true");
    spec.rlimits.insert("nofile".into(), "9:999999".parse().unwrap());
    let why = place.start(&spec).unwrap_err();
    assert!(why.starts_with("rlimits.nofile 9:999999 is refused: the worker's own limit"), "{why}");
}
