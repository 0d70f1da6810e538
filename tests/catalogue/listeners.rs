//! What happens to listeners, and what alerts keep.

use std::process::{Child, Command, Stdio};

use dsbus_client::{Item, Value as Stands};
use dsbus_harness::wait_until;
use dsbus_schema::storage::{AlertKey, Bucket};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::book::{record, wait, write};
use crate::fleet::{DEADLINE, DSBUS, Fleet};
use crate::workers::connect;

/// A listener of Supervisor's kind that answers an event as it is told to, and then well; it fails
/// three times, since fewer are not told.
const LISTENER: &str = r#"
import os, sys
answer, mark = sys.argv[1:]
while True:
    sys.stdout.write("READY\n"); sys.stdout.flush()
    header = dict(part.split(":") for part in sys.stdin.readline().split())
    sys.stdin.read(int(header["len"]))
    with open(mark, "a") as count:
        count.write(".")
    bad = os.path.getsize(mark) <= (3 if answer == "fail" else 1)
    if bad and answer == "die":
        sys.exit(3)
    words = {"fail": "RESULT 4\nFAIL", "babble": "what?\n"}.get(answer) if bad else None
    sys.stdout.write(words or "RESULT 2\nOK"); sys.stdout.flush()
"#;

const RULES: &str = r#"
[[rule]]
name = "fatal"
events = "FATAL"
group_wait = "1s"
quiet = "10m"
rate_limit = "20/1h"
send = ["gone", "busy"]

[[rule]]
name = "late"
events = "STARTING"
group_wait = "1h"
send = "gone"

[target.gone]
type = "command"
command = "sh -c 'echo unknown pager >&2; exit 64'"

[target.busy]
type = "command"
command = "sh -c 'echo line is busy >&2; exit 1'"
"#;

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(fleet: &Fleet, args: &[&str]) -> Ends {
    let mut command = Command::new(DSBUS);
    command.args(["--nats", &fleet.nats.url()]).args(args);
    Ends(command.current_dir(fleet.path()).stdin(Stdio::null()).spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_and_alerts() {
    let fleet = Fleet::start(1, 1);
    let script = fleet.file("listener.py", LISTENER);
    let marks = ["fail", "die", "babble"].map(|answer| (answer, fleet.path().join(answer)));
    let mut running: Vec<Ends> = marks
        .iter()
        .map(|(answer, mark)| {
            let mark = mark.to_str().unwrap();
            let start = ["listen", "--name", answer, "--from-seq", "1", "-e", "PROCESS_STATE"];
            let command = ["--", "python3", &script, answer, mark];
            daemon(&fleet, &[&start[..], &command[..]].concat())
        })
        .collect();
    let rules = fleet.file("alert.toml", RULES);
    running.push(daemon(&fleet, &["alert", &rules]));
    wait_until("alerts to work", DEADLINE, || {
        let letters = fleet.try_json(&["alert", "letters", "-o", "json"])?;
        if letters["lease"].is_null() { Err(letters.to_string()) } else { Ok(()) }
    });
    let broken = "[program.orders]\ncommand = [\"sh\", \"-c\", \"echo no database >&2; exit 3\"]\n\
                  startretries = 0\nmax_fail_count = 1\n";
    let file = fleet.file("orders.toml", broken);
    // That it fails is the point.
    fleet.run(&["apply", &file]);
    wait(
        &fleet,
        &[
            "listener.UNKNOWN",
            "listener.DIED",
            "listener.REJECTED",
            "listener.ACCEPTED",
            "listener.DEAD_LETTER",
        ],
    );
    // It waits to be told when its rule is taken out.
    fleet.file("alert.toml", &RULES.replace("\"late\"", "\"later\""));
    let alert = running.last().unwrap().0.id();
    kill(Pid::from_raw(i32::try_from(alert).unwrap()), Signal::SIGHUP).unwrap();
    wait(&fleet, &["listener.DROPPED"]);
    record(&fleet);
    keys(&fleet).await;
}

/// Records a key of each kind that alerts have.
async fn keys(fleet: &Fleet) {
    let bus = connect(fleet).await;
    let mut watch = bus.watch(Bucket::Alerts, ">", "catalogue");
    loop {
        let entry = match watch.next().await {
            Item::Entry(entry) => entry,
            Item::CaughtUp => return,
            Item::Reset => continue,
        };
        let (Some((_, key)), Stands::Put(body)) = (AlertKey::parse(&entry.key), entry.value) else {
            continue;
        };
        let name = match key {
            AlertKey::Lease => "lease",
            AlertKey::Group(..) => "group",
            AlertKey::Rate(_) => "rate",
            AlertKey::Letter(_) => "letter",
            AlertKey::Dead(_) => "dead",
            AlertKey::Lost => "lost",
        };
        let told = json!({ "bucket": Bucket::Alerts.name(bus.fleet()), "key": entry.key,
            "value": serde_json::from_slice::<Value>(&body).unwrap() });
        write(fleet, &format!("keys/alert.{name}"), &told);
    }
}
