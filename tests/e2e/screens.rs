//! `dsbus top` and `dsbus shell` in a terminal, as a person has them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dsbus_harness::{Terminal, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, Fleet, said};

const PROGRAMS: &str = "
[program.web]
command = \"sleep 1000\"
numprocs = 2
startsecs = 0

[program.talk]
command = \"while :; do echo hello from talk; sleep 0.1; done\"
shell = true
startsecs = 0
";

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const ESC: &str = "\x1b";
const CONTROL_C: &str = "\x03";
const CONTROL_D: &str = "\x04";

fn top(fleet: &Fleet, words: &[&str]) -> Terminal {
    let mut command = fleet.command();
    command.arg("top").args(words);
    Terminal::start(command, 80, 24)
}

/// The line of the table about an instance.
fn line<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown.lines().find(|line| line.split_whitespace().next() == Some(name))
}

fn row_is(name: &'static str, state: &'static str) -> impl Fn(&str) -> bool {
    move |shown| line(shown, name).is_some_and(|line| line.contains(state))
}

#[test]
fn top_shows_a_fleet_and_acts_on_it() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    let mut top = top(&fleet, &[]);
    top.wait_until("three that run", |shown| {
        ["talk:0", "web:0", "web:1"].iter().all(|name| row_is(name, "RUNNING")(shown))
    });
    top.wait_for("3 instances");
    top.wait_until("the worker", row_is("w1", "ready"));
    // Its worker was asked what it uses.
    top.wait_until("memory of web:0", row_is("web:0", "MiB"));
    // Stopping is asked about, and no is the default.
    top.press(DOWN);
    top.press("x");
    top.wait_for("Really stop web:0? y/N");
    top.press("n");
    top.wait_until("no question", |shown| !shown.contains("Really"));
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
    top.press("x");
    top.wait_for("Really stop web:0? y/N");
    top.press("y");
    top.wait_until("it to have stopped", row_is("web:0", "STOPPED"));
    // And among the events.
    top.wait_for("web:0  STOPPED");
    fleet.wait_state("web:0", "STOPPED");
    // What happens elsewhere is seen, too, and told among the events.
    fleet.ok(&["restart", "web:1"]);
    top.wait_until("a new child", |shown| {
        row_is("web:1", "RUNNING")(shown) && shown.contains("web:1  RUNNING")
    });
    top.press("s");
    top.wait_for("Really start web:0? y/N");
    top.press("y");
    top.wait_until("it to run again", row_is("web:0", "RUNNING"));
    // Filter, by text and by state.
    top.press("/web\r");
    top.wait_until("only web", |shown| {
        line(shown, "talk:0").is_none() && shown.contains("2 shown: /web")
    });
    top.press(ESC);
    top.wait_until("all again", |shown| line(shown, "talk:0").is_some());
    // Sort: by state, and round.
    top.press(">");
    top.wait_for("STATE▾");
    top.press("R");
    top.wait_for("STATE▴");
    top.press("<");
    top.wait_for("NAME▾");
    // The log of the first one, and all about it.
    top.press("gl");
    top.wait_for("stdout of talk:0");
    top.wait_for("hello from talk");
    top.press(ESC);
    top.wait_until("the table", |shown| line(shown, "web:1").is_some());
    top.press("\r");
    top.wait_for("all about talk:0");
    top.wait_for("program id");
    top.press("q");
    top.wait_for("NAME▾");
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));
    top.wait_until("a screen as it was before", |shown| !shown.contains("NAME"));
}

#[test]
fn top_gives_the_terminal_back_however_it_ends() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    // In a shell, whose terminal is looked at afterwards.
    let run = |end: &dyn Fn(&mut Terminal)| {
        let dsbus = fleet.command();
        let program = dsbus.get_program().to_str().unwrap().to_owned();
        let mut command = Command::new("sh");
        let script =
            format!("{program} --nats {} top web; echo ended $?; stty -a", fleet.nats.url());
        command.args(["-c", &script]).env_remove("NATS_URL").current_dir(fleet.path());
        let mut terminal = Terminal::start(command, 80, 24);
        terminal.wait_until("web:1 runs", row_is("web:1", "RUNNING"));
        assert!(line(&terminal.shown(), "talk:0").is_none(), "only what was asked for");
        end(&mut terminal);
        terminal.wait_for("ended 0");
        // `stty -a` says "-icanon -echo" of a terminal that is still raw.
        terminal.wait_until("a terminal as before", |shown| {
            shown.contains(" icanon") && shown.contains(" echo ") && !shown.contains("-icanon")
        });
    };
    run(&|terminal| terminal.press(CONTROL_C));
    run(&|terminal| {
        let shell = terminal.pid();
        let path = format!("/proc/{shell}/task/{shell}/children");
        let child = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(child), Signal::SIGTERM).unwrap();
    });
}

#[test]
fn top_needs_a_terminal_and_names_that_are_there() {
    let fleet = Fleet::start(1, 0);
    let told = fleet.fails(2, &["top"]);
    assert!(told.contains("needs a terminal") && told.contains("dsbus status"), "{told}");
    let mut top = top(&fleet, &["nope"]);
    assert_eq!(top.ended().code(), Some(1));
    top.wait_for("no program is named \"nope\"");
}

/// A shell whose history is kept in a directory.
fn shell_of(fleet: &Fleet, state: &Path) -> Terminal {
    let mut command = fleet.command();
    command.arg("shell").env("XDG_STATE_HOME", state);
    let terminal = Terminal::start(command, 100, 30);
    terminal.wait_for("dsbus default>");
    terminal
}

fn history(state: &Path) -> PathBuf {
    state.join("dsbus/shell_history")
}

#[test]
fn a_shell_completes_remembers_and_asks_before_it_destroys() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    let state = fleet.path().join("state");
    let mut shell = shell_of(&fleet, &state);
    // Verbs and names by Tab; the machine may be too busy for the first one.
    shell.press("stat\t");
    shell.wait_for("dsbus default> status ");
    shell.press("tal");
    wait_until("a name to be completed", DEADLINE, || {
        shell.press("\t");
        let shown = shell.shown();
        if shown.contains("> status talk") { Ok(()) } else { Err(shown) }
    });
    shell.press("\x15status web:0\r");
    shell.wait_until("a table", row_is("web:0", "RUNNING"));
    // What destroys is asked about.
    shell.press("remove talk\r");
    shell.wait_for("Really remove talk? y/N");
    shell.press("\r");
    shell.wait_for("nothing was done");
    assert_eq!(fleet.row("talk:0")["state"], "RUNNING");
    shell.press("stop web:1\r");
    shell.wait_for("web:1: stopped");
    shell.press("remove talk\r");
    shell
        .wait_until("a second question", |shown| shown.matches("Really remove talk?").count() == 2);
    shell.press("y\r");
    shell.wait_for("talk:0: removed");
    // Ctrl-C ends the verb, and not the shell.
    shell.press("events -f\r");
    shell.wait_until("the verb to run", |shown| {
        shown.trim_end().ends_with("events -f") || shown.contains("TIME")
    });
    fleet.ok(&["emit", "HEARD"]);
    shell.wait_for("HEARD");
    shell.press(CONTROL_C);
    shell.wait_until("the prompt", |shown| shown.trim_end().ends_with("dsbus default>"));
    shell.press("nonsense\r");
    shell.wait_for("there is no verb");
    // Before that Ctrl-D is no key: the terminal itself takes it for the end of a line.
    shell.wait_until("the prompt", |shown| shown.trim_end().ends_with("dsbus default>"));
    shell.press(CONTROL_D);
    assert_eq!(shell.ended().code(), Some(0));
    // The next one remembers, and nobody else may read it.
    let kept = std::fs::metadata(history(&state)).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let mut shell = shell_of(&fleet, &state);
    shell.press(UP);
    shell.wait_for("dsbus default> nonsense");
    shell.press(CONTROL_C);
    shell.wait_until("a prompt", |shown| shown.trim_end().ends_with("dsbus default>"));
    shell.press("exit\r");
    assert_eq!(shell.ended().code(), Some(0));
}

#[test]
fn a_shell_reads_from_a_pipe_asks_nothing_and_ends_as_what_failed_last() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    let piped = |lines: &str| {
        let mut command = fleet.command();
        command.arg("shell").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = piped("# a comment\n\nremove talk\nstatus web:0 -o name\nexit\nstop web\n");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "talk:0: removed\nweb:0\n");
    for (lines, code) in [
        ("status nope\nstatus web:0\n", 1),
        ("status nope\nstatus --nope\nstatus web:0", 2),
        ("stop web:0\nstatus web:0 -o name\npid web:0\n", 3),
        ("status 'web\n", 2),
        ("shell\n", 2),
        ("help\nstatus --help\n", 0),
    ] {
        let output = piped(lines);
        assert_eq!(output.status.code(), Some(code), "{lines:?}: {}", said(&output));
    }
    // A verb that reads is not given the lines that follow, however many there are.
    let many = format!("run -- cat\n{}status web:0 -o name\n", "# a comment\n".repeat(1_000));
    let output = piped(&many);
    let shown = (output.status.code(), &*output.stdout);
    assert_eq!(shown, (Some(0), &b"web:0\n"[..]), "{}", String::from_utf8_lossy(&output.stderr));
    // Whoever has written the lines is told which of them is meant.
    let output = piped("# one\nstatus nope\nstatus 'web\nstatus --nope\nshell\n");
    let told = String::from_utf8(output.stderr).unwrap();
    for part in [
        "line 2: dsbus status nope: exit 1",
        "error: line 3: a quote is not closed",
        "error: line 4: unexpected argument '--nope'",
        "error: line 5: this is the shell already",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let text = String::from_utf8(piped("help\nhelp status\n").stdout).unwrap();
    let (verbs, status) = text.split_once("help VERB tells all about one.").unwrap();
    assert!(verbs.contains("\nstatus         Show what runs") && !verbs.contains("--"), "{text}");
    assert!(status.contains("Usage: dsbus status"), "{text}");
}

#[test]
fn control_c_ends_an_action_of_supervisorctl_and_not_its_shell() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    // It never gets a place, and is waited for.
    let far = fleet
        .file("far.toml", "[program.far]\ncommand = \"x\"\nmachines = \"w9\"\nautostart = false\n");
    fleet.ok(&["apply", &far]);
    let mut command = fleet.command();
    command.args(["supervisorctl", "-r", "/dev/null"]);
    let mut shell = Terminal::start(command, 80, 24);
    shell.wait_for("supervisor>");
    for (action, begun) in [("tail -f talk", "hello from talk"), ("start far", "start far")] {
        shell.press(&format!("{action}\r"));
        shell.wait_for(begun);
        if action == "start far" {
            fleet.wait_row("far:0", "it to be wanted", |row| row["wanted"]["run"] == true);
        }
        shell.press(CONTROL_C);
        shell.wait_until("the prompt", |shown| shown.trim_end().ends_with("supervisor>"));
        shell.press("version\r");
        shell.wait_until("the version", |shown| {
            shown.trim_end().ends_with("supervisor>") && shown.contains("4.3.0")
        });
        shell.press("\x0c");
        shell.wait_until("an empty screen", |shown| !shown.contains("4.3.0"));
    }
    shell.press(CONTROL_D);
    assert_eq!(shell.ended().code(), Some(0));
}
