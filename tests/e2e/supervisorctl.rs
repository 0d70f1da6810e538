//! `dsbus supervisorctl` beside supervisorctl 4.3.0, which asks a supervisord that runs the same
//! programs: the same words come out, and the same exit codes.

use std::io::Write;
use std::process::{Command, Stdio};

use dsbus_harness::{Terminal, wait_until};

use crate::fleet::{DEADLINE, Fleet, said};
use crate::supervisord::{ACTIONS, PROGRAMS, Supervisord, lasting, sorted};

#[test]
fn it_says_what_supervisorctl_says_and_exits_as_it_does() {
    let fleet = Fleet::start(1, 1);
    let peer = Supervisord::start(&fleet);
    let programs = fleet.file("programs.conf", PROGRAMS);
    // `once` has ended with 3, and so this fails.
    fleet.run(&["apply", &programs]);
    let ctl = |command: &mut Command, words: &str| {
        lasting(&command.args(words.split(' ')).stdin(Stdio::null()).output().unwrap())
    };
    let ours = |words: &str| ctl(fleet.command().arg("supervisorctl"), words);
    let theirs = |words: &str| ctl(&mut peer.ctl(), words);
    wait_until("both to run the same", DEADLINE, || {
        let (ours, theirs) = (ours("status"), theirs("status"));
        let ready = ours.0.contains("EXITED") && ours.0.matches("RUNNING").count() == 5;
        if ready && ours == theirs { Ok(()) } else { Err(format!("{ours:?}\n{theirs:?}")) }
    });
    let mut wrong = Vec::new();
    for action in ACTIONS {
        if action.contains(" quick") {
            // It is BACKOFF for a moment before it is given up, and starts that come then say so.
            wait_until("quick to be given up", DEADLINE, || {
                let (ours, theirs) = (ours("status quick").0, theirs("status quick").0);
                let rests = |said: &str| said.contains("FATAL") || said.contains("STOPPED");
                if rests(&ours) && rests(&theirs) { Ok(()) } else { Err((ours, theirs)) }
            });
        }
        let (mut ours, mut theirs) = (ours(action), theirs(action));
        if action.starts_with("stop ") || action.starts_with("restart ") {
            // In the order in which they happen to end.
            (ours, theirs) = (sorted(ours), sorted(theirs));
        }
        if ours != theirs {
            wrong.push(format!("--- {action}\nours {ours:?}\nis   {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // There by the order of the file, in which what was removed still is; here by name.
    let (ours, theirs) = (sorted(ours("avail")), sorted(theirs("avail")));
    let kept = |text: &str| {
        text.lines().filter(|line| line.contains("in use")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((kept(&ours.0), ours.1), (kept(&theirs.0), theirs.1));
}

#[test]
fn lines_from_a_pipe_are_actions() {
    let fleet = Fleet::start(1, 1);
    let peer = Supervisord::start(&fleet);
    let programs = fleet.file("programs.conf", PROGRAMS);
    fleet.run(&["apply", &programs]);
    let typed = |mut command: Command, lines: &str| {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        lasting(&child.wait_with_output().unwrap())
    };
    let ours = |lines: &str| {
        let mut command = fleet.command();
        command.arg("supervisorctl");
        typed(command, lines)
    };
    for lines in ["version\n\nfoo\nstatus mute\nquit\nversion\n", "stop mute\nstart mute\n", ""] {
        wait_until("both to run the same", DEADLINE, || {
            let (ours, theirs) = (ours(lines), typed(peer.ctl(), lines));
            if ours == theirs { Ok(()) } else { Err(format!("{lines:?}\n{ours:?}\n{theirs:?}")) }
        });
    }
}

#[test]
fn a_bus_that_is_away_and_what_a_fleet_has_not_is_told() {
    let fleet = Fleet::start(1, 1);
    let run = |words: &[&str]| {
        let output = fleet.run(&[&["supervisorctl"], words].concat());
        (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code(), said(&output))
    };
    for action in ["status", "start all", "avail", "pid all", "remove web", "tail web"] {
        let words: Vec<&str> = action.split(' ').collect();
        let (out, code, _) = run(&[&["-s", "nats://127.0.0.1:1"], &*words].concat());
        assert_eq!((&*out, code), ("nats://127.0.0.1:1 refused connection\n", Some(4)), "{action}");
    }
    for action in
        ["pid", "maintail", "maintail -f", "reread", "update", "update all", "reload", "shutdown"]
    {
        let (out, code, all) = run(&action.split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(3), "{action}: {all}");
        assert!(out.to_lowercase().starts_with("error: ") && out.contains("fleet"), "{all}");
    }
    let (out, code, all) =
        run(&["-s", "http://localhost:9001", "-u", "me", "-p", "x", "-c", "x.conf", "version"]);
    assert_eq!((&*out, code), ("4.3.0\n", Some(0)));
    assert!(all.contains("-s http://localhost:9001 has no effect"), "{all}");
    let (out, code, _) = run(&["open", "http://localhost:9001"]);
    assert_eq!((&*out, code), ("ERROR: url must be nats:// or tls://\n", Some(1)));
}

#[test]
fn a_log_is_followed_until_control_c() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.talk]\ncommand = \"while :; do echo hello; sleep 0.1; done\"\nshell = true\nstartsecs = 0\n",
    );
    let mut command = fleet.command();
    command.args(["supervisorctl", "tail", "-f", "talk"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.wait_for("==> Press Ctrl-C to exit <==");
    terminal.wait_for("hello");
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_process_is_in_the_foreground_until_control_c() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.echo]\ncommand = \"while read line; do echo heard $line; done\"\nshell = true\nstdin = true\nstartsecs = 0\n",
    );
    let mut command = fleet.command();
    command.args(["supervisorctl", "fg", "echo"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.wait_for("==> Press Ctrl-C to exit <==");
    terminal.press("a word\r");
    terminal.wait_for("heard a word");
    terminal.press("\x03");
    terminal.wait_for("Exiting foreground");
    assert_eq!(terminal.ended().code(), Some(0));
}
