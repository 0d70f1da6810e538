//! Verbs that help people: with what is wrong, with settings, manuals, shells, and words that are none.

use std::os::unix::fs::PermissionsExt;

use super::JOB;
use super::transcript::Transcript;
use crate::fleet::{Fleet, SHOP};

#[test]
fn verbs_that_need_no_fleet() {
    let fleet = Fleet::bare();
    Transcript::of(&fleet)
        .run("init new")
        .run("init new")
        .run("init --force new")
        .run("init new/dsbus.toml")
        .run("completion bash")
        .run("completion fish")
        .run("completion tcsh")
        .run("completion")
        .run("man pid")
        .run("man --dir pages")
        .run("man stauts")
        .run("man --dir new/dsbus.toml")
        .run("config")
        .run("config -o name")
        .run("config -o xml")
        .is("alone");
}

#[test]
fn users_of_the_bus() {
    let fleet = Fleet::bare();
    let mut all = Transcript::of(&fleet);
    all.run("auth init auth --servers tls://nats.example.org:4222 --workers w1")
        .run("auth init auth")
        .run("auth init other --servers http://nats.example.org");
    for role in [
        "scheduler s2",
        "gateway g2",
        "viewer bob",
        "operator ann --verbs start,stop",
        "worker w2 --listeners",
        "listener audit --events process.*",
        "alert ops",
    ] {
        let wrong = role.split(' ').next().unwrap();
        all.run(&format!("auth add {role} --dir auth"))
            .run(&format!("auth add {wrong} a.b --dir auth"))
            .begins(&format!("auth permissions {role}"), 4)
            .run(&format!("auth permissions {wrong} a.b"));
    }
    all.run("auth add worker w2 --dir auth")
        .run("auth add operator eve --verbs fly --dir auth")
        .run("auth add listener pager --events FATAL,worker.LOST --dir auth")
        .run("auth list --dir auth")
        .run("auth list")
        .begins("auth permissions viewer --nsc", 4)
        .run("auth rotate w1 --dir auth")
        .run("auth rotate w1 --dir auth")
        .run("auth rotate scheduler --dir auth")
        .run("auth rotate nobody --dir auth")
        .run("auth list --dir auth -o name")
        .run("auth revoke w1 --old --dir auth")
        .run("auth revoke w1 --old --dir auth")
        .run("auth revoke w1 --dir auth")
        .run("auth revoke w1 --dir auth")
        .run("auth revoke admin --dir auth")
        .run("auth revoke s2 --dir auth")
        .run("auth revoke scheduler --dir auth")
        .run("auth revoke scheduler --old --force --dir auth")
        .run("auth list --dir auth -o name")
        .run("auth revoke scheduler --force --dir auth")
        .is("auth");
}

#[test]
fn help_and_words_that_are_no_verbs() {
    let fleet = Fleet::bare();
    for (name, text) in [
        ("dsbus-hello", "#!/bin/sh\necho \"hello $*: $NATS_URL $DSBUS_FLEET\"\n"),
        ("dsbus-sorry", "#!/bin/sh\necho no >&2\nexit 7\n"),
        ("dsbus-broken", "#!/no/such/interpreter\n"),
    ] {
        let path = fleet.file(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Transcript::of(&fleet)
        .run("hello you --flag")
        .run("--fleet other hello")
        .run("sorry")
        .run("broken")
        .run("statsu")
        .run("frobnicate")
        .run("help")
        .run("help help")
        .run("help rollout pause")
        .run("help statsu")
        .run("help frobnicate")
        .run("rollout puase web")
        .run("--version")
        .run("--fleet")
        .run("")
        .is("help");
}

#[test]
fn settings_that_are_wrong() {
    let fleet = Fleet::bare();
    fleet.file("dsbus.toml", "fleet = \"a b\"\nnast = \"nats://n1\"\n");
    Transcript::of(&fleet).run("config").run("status").run("completion fish").is("settings");
}

#[test]
fn verbs_that_look_for_what_is_wrong() {
    let fleet = Fleet::start(2, 1);
    fleet.apply(&[SHOP, JOB].concat());
    let well = |said: &str| {
        let parts = ["✓ bus", "✓ clocks", "2 answer: s1 s2", "✓ workers", "✓ programs"];
        parts.iter().all(|part| said.contains(part))
    };
    let all = |said: &str| ["s1", "s2", "w1"].iter().all(|name| said.contains(name));
    Transcript::of(&fleet)
        .calm("doctor", well)
        .run("doctor -o name")
        .run("doctor web")
        .calm("version", all)
        .calm("version -o name", all)
        .run("version -o xml")
        .is("doctor");
}

#[test]
fn screens_without_a_terminal() {
    let fleet = Fleet::start(1, 1);
    let cat =
        "[program.cat]\ncommand = \"cat\"\nstdin = true\nstartsecs = 0\nautorestart = false\n";
    fleet.apply(&format!("{SHOP}{JOB}{cat}"));
    Transcript::of(&fleet)
        .run("top")
        .run("top --nonsense")
        .typed("shell", "status -o name\nstop web:1\nhelp wait\nquit\n")
        .typed("shell", "nonsense\nstop web:1\nstop nothing\n")
        .run("shell web")
        .run("supervisorctl status")
        .run("supervisorctl restart shop:web_01")
        .run("supervisorctl stop nothing")
        .run("supervisorctl nonsense")
        .run("supervisorctl maintail")
        .typed("supervisorctl", "version\nstatus nothing\nquit\n")
        .run("attach")
        .run("run -- cat")
        .typed("run -- cat", "typed\n")
        .run("run --detach --name later -- true")
        .is("screens");
}
