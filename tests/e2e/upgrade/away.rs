//! What others see of an upgrade: a bus that is away meanwhile, who follows a log, who looks at versions.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Scene, before_this, standing};
use crate::fleet::{DEADLINE, DSBUS, Fleet, assert_gapless};

/// A child that writes numbered lines all the time, and one that says its process id and waits.
const PROGRAMS: &str = r#"
[program.count]
command = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.002; done"
shell = true
startsecs = 0
stdout_logfile_maxbytes = 0

[program.mayfly]
command = "echo $$; exec sleep 1000"
shell = true
startsecs = 0
stdout_logfile_maxbytes = 0
"#;

/// Kills the mayfly that lives, and waits for the next one; gives the process id of that.
fn swat(scene: &Scene) -> String {
    let before = scene.lines("mayfly.0");
    let pid = before.last().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("the next one", DEADLINE, || {
        let now = scene.lines("mayfly.0");
        if now.len() > before.len() { Ok(now.last().unwrap().clone()) } else { Err(now) }
    })
}

fn start(scene: &Scene) {
    scene.fleet.apply(PROGRAMS);
    wait_until("both to speak", DEADLINE, || {
        let said = (scene.lines("count.0").len(), scene.lines("mayfly.0"));
        if said.0 > 10 && said.1.len() == 1 { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_bus_that_is_away_meanwhile_hears_all_of_it_later() {
    let mut scene = Scene::start();
    start(&scene);
    let count = standing(&scene.fleet.row("count:0"));
    let (supervisor, agent) = (scene.fleet.pid("w1"), scene.fleet.agent_pid("w1"));
    scene.fleet.nats.stop();
    swat(&scene);
    scene.replace(Path::new(DSBUS));
    scene.hup();
    let log = scene.fleet.log("w1");
    wait_until("the new version", DEADLINE, || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if log.contains("took over 2 children") { Ok(()) } else { Err(log) }
    });
    let last = swat(&scene);
    scene.fleet.nats.restart();

    let fleet = &scene.fleet;
    scene.wait_told("UPGRADED", 1);
    fleet.wait_row("mayfly:0", "the last one", |row| {
        row["state"] == "RUNNING"
            && row["pid"].as_i64().map(|pid| pid.to_string()).as_ref() == Some(&last)
            && row["restarts"] == 2
    });
    assert_eq!(standing(&fleet.row("count:0")), count);
    assert_eq!(fleet.pid("w1"), supervisor);
    wait_until("another agent", DEADLINE, || {
        let now = fleet.agent_pid("w1");
        if now == agent { Err(now) } else { Ok(()) }
    });
    scene.assert_counts("count.0");
    let ended: Vec<Value> = fleet
        .events()
        .into_iter()
        .filter(|event| event["data"]["name"] == "mayfly:0" && event["data"]["state"] == "EXITED")
        .map(|event| event["data"]["pid"].clone())
        .collect();
    let pids = scene.lines("mayfly.0");
    let wanted: Vec<Value> =
        pids[..2].iter().map(|pid| Value::from(pid.parse::<i32>().unwrap())).collect();
    assert_eq!(ended, wanted, "each end is told once");
    assert_gapless(&fleet.events());
}

#[test]
fn who_follows_a_log_sees_each_line_once() {
    let scene = Scene::start();
    start(&scene);
    let shown = scene.fleet.path().join("shown");
    let mut command = scene.fleet.command();
    command.args(["logs", "-f", "count:0", "-n", "100000"]).stdin(Stdio::null());
    let mut follower = command.stdout(File::create(&shown).unwrap()).spawn().unwrap();
    let lines = || std::fs::read_to_string(&shown).unwrap().lines().map(str::to_owned).collect();
    let wait_past = |count: usize| {
        wait_until("more lines", DEADLINE, || {
            let lines: Vec<String> = lines();
            if lines.len() > count { Ok(lines) } else { Err((lines.len(), count)) }
        })
    };
    wait_past(10);
    scene.upgrade(Path::new(DSBUS), 1);
    wait_past(scene.lines("count.0").len());
    scene.upgrade(&before_this(), 2);
    let mut lines = wait_past(scene.lines("count.0").len());
    follower.kill().unwrap();
    follower.wait().unwrap();
    // The last one may be cut: it was being written.
    lines.pop();
    for (line, wanted) in lines.iter().zip(1..) {
        assert_eq!(*line, wanted.to_string());
    }
}

/// What an executable says that it is.
fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim().strip_prefix("dsbus ").unwrap().to_owned()
}

fn wait_version(fleet: &Fleet, wanted: &str) {
    wait_until(&format!("a worker of {wanted}"), DEADLINE, || {
        let row = fleet.worker_row("w1");
        if row["version"] == wanted { Ok(()) } else { Err(row.to_string()) }
    });
}

#[test]
fn versions_are_told_and_words_that_only_one_of_them_knows_are_borne() {
    let scene = Scene::start();
    start(&scene);
    let (old, new) = (version(&before_this()), version(Path::new(DSBUS)));
    assert_ne!(old, new);
    wait_version(&scene.fleet, &old);
    let count = standing(&scene.fleet.row("count:0"));
    // What is handed over has a word more at each place, and lacks one.
    let other_words = format!(
        "def more(value):\n    \
             if isinstance(value, list): return [more(v) for v in value]\n    \
             if not isinstance(value, dict): return value\n    \
             return {{k: more(v) for k, v in value.items()}}\n\
         if taking:\n    \
             head, body = map(json.loads, open('/proc/self/fd/' + taking[0]).read().splitlines())\n    \
             head['tea'] = body['tea'] = {{'sort': 'green'}}\n    \
             for left in body['streams'] + body['children']['living']: left['tea'] = 1\n    \
             del body['owner']['core']\n    \
             if body['cgroups'] is None: del body['cgroups']\n    \
             to = os.memfd_create('other', 0)\n    \
             os.write(to, (json.dumps(head) + '\\n' + json.dumps(body) + '\\n').encode())\n    \
             words[-1] = '--take-over=%d' % to\n\
         os.execv({DSBUS:?}, words)"
    );
    scene.replace(&scene.python("other-words", &other_words));
    scene.hup();
    let told = scene.wait_told("UPGRADED", 1);
    let reason = told["data"]["reason"].as_str().unwrap();
    assert_eq!(reason, format!("from version {old} to {new}; no child was touched"));
    wait_version(&scene.fleet, &new);
    assert_eq!(standing(&scene.fleet.row("count:0")), count);
    scene.assert_counts("count.0");
}
