//! What every verb prints, on success and on failure, word by word: a change of it is seen by whoever
//! reviews it. Times, process ids, identities and paths are replaced by words.
//!
//! To take what is printed now: `INSTA_UPDATE=always ./run test -p dsbus --test e2e said`.

use std::fmt::Write;

use crate::fleet::Fleet;

/// What is different each time, and what stands for it. The first that fit are taken first.
const CHANGES: [(&str, &str); 17] = [
    (r"nats://127\.0\.0\.1:\d+", "nats://BUS"),
    (r"/tmp/\.tmp[A-Za-z0-9]+", "DIR"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
    (r#""(pid|agent_pid|supervisor_pid)": \d+"#, r#""${1}": PID"#),
    (r"pid(:? +)\d+", "pid${1}PID"),
    (r"(\d+m )?\d+s ago", "AGE ago"),
    // Columns of `status`: name, state, worker; pid, epoch, since, restarts.
    (r"(?m)^(\S+ +[A-Z]+ +\S+ +)\d+ +(\d+) +(\d+m )?\d+s +(\d+)", "${1}PID  ${2}  AGE  ${4}"),
    (r"(?m)^(\S+ +[A-Z]+ +\S+ +)- +(\S+) +(\d+m )?\d+s +(\d+)", "${1}-  ${2}  AGE  ${4}"),
    (
        r"(?m)^NAME +STATE +WORKER +PID +EPOCH +SINCE +RESTARTS",
        "NAME STATE WORKER PID EPOCH SINCE RESTARTS",
    ),
    (r#""sequence": "\d+""#, r#""sequence": "SEQ""#),
    (r"as sequence \d+", "as sequence SEQ"),
    (r#""(cpu_ms|memory_peak|since)": (\d+|"[^"]*")"#, r#""${1}": ..."#),
    (r"\b\d+\.\d+ s of processor time(, at most [0-9.]+ [KM]iB)?", "SOME processor time"),
    (r" +\n", "\n"),
    (r"dsbus \d+\.\d+\.\d+", "dsbus VERSION"),
];

/// Verbs, one after the other, and all that they print.
struct Transcript<'a> {
    fleet: &'a Fleet,
    text: String,
}

impl Transcript<'_> {
    fn of(fleet: &Fleet) -> Transcript<'_> {
        Transcript { fleet, text: String::new() }
    }

    /// Runs a verb; its words are divided by blanks.
    fn run(&mut self, line: &str) -> &mut Self {
        let words: Vec<&str> = line.split(' ').collect();
        let output = self.fleet.run(&words);
        let _ = writeln!(self.text, "$ dsbus {line}");
        self.text.push_str(&settled(&String::from_utf8(output.stdout).unwrap()));
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            let _ = writeln!(self.text, "! {line}");
        }
        let code = output.status.code().unwrap();
        if code != 0 {
            let _ = writeln!(self.text, "[exit {code}]");
        }
        self.text.push('\n');
        self
    }

    /// Compares all of it with what was printed before.
    fn is(&self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, word) in CHANGES {
            settings.add_filter(pattern, word);
        }
        settings.bind(|| insta::assert_snapshot!(name, self.text));
    }
}

/// Instances are told of as they come, several of them in any order: here they are in order.
fn settled(text: &str) -> String {
    let is_instance = |line: &&str| {
        let mut parts = line.splitn(3, ':');
        let index = parts.nth(1).is_some_and(|index| index.parse::<u32>().is_ok());
        index && !line.contains("  ")
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut settled = String::new();
    for part in lines.chunk_by(|a, b| is_instance(a) == is_instance(b)) {
        let mut part = part.to_vec();
        if part.first().is_some_and(is_instance) {
            part.sort_unstable();
        }
        for line in part {
            settled.push_str(line);
            settled.push('\n');
        }
    }
    settled
}

const SHOP: &str = r#"
[program.web]
command = "sleep 1000"
numprocs = 2
startsecs = 0
group = "shop"
environment = { MODE = "live" }
"#;

const JOB: &str = r#"
[program.job]
command = "echo done"
shell = true
kind = "oneshot"
"#;

#[test]
fn verbs_that_declare() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("shop.toml", SHOP);
    let changed = fleet.file(
        "changed.toml",
        &SHOP.replace("1000", "999").replace("= 2", "= 2\nupdate = { canary = 1 }"),
    );
    let wrong = fleet.file("wrong.toml", "[program.web]\ncommnad = \"sleep\"\nnumprocs = -1\n");
    let conf = fleet.file("supervisord.conf", "[program:old]\ncommand=sleep 1000\nserverurl=x\n");
    Transcript::of(&fleet)
        .run(&format!("apply --dry-run {file}"))
        .run(&format!("apply {file}"))
        .run(&format!("apply {file}"))
        .run(&format!("apply {wrong}"))
        .run("apply missing.toml")
        .run(&format!("apply --dry-run {changed}"))
        .run(&format!("apply {changed}"))
        .run("rollout status nothing")
        .run("rollout status web")
        .run("rollout promote web")
        .run("rollout pause web")
        .run("export web")
        .run(&format!("import {conf}"))
        .run("import missing.conf")
        .run("create hello --startsecs 0 -- sleep 1000")
        .run("create hello -- sleep 1000")
        .run("create x")
        .run("scale hello=2")
        .run("scale hello=many")
        .run("history hello")
        .run("history nothing")
        .run("remove hello")
        .run("remove hello")
        .is("declare");
}

#[test]
fn verbs_that_act() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&[SHOP, JOB].concat());
    Transcript::of(&fleet)
        .run("start web")
        .run("start web:0 -- --flag")
        .run("stop web:1")
        .run("stop web:1")
        .run("start web:1 -o json")
        .run("restart web:0")
        .run("restart web:0 -o name")
        .run("reload web:0 --no-wait")
        .run("disable job")
        .run("start job")
        .run("enable job")
        .run("start web:7")
        .run("start wbe")
        .run("stop")
        .run("wait web")
        .run("wait job --for stopped --timeout 10s")
        .run("clear web:0")
        .run("stop shop:*")
        .run("stop all")
        .run("remove all")
        .run("wait web --for gone")
        .is("act");
}

#[test]
fn verbs_that_lay_hands_on_what_runs() {
    let fleet = Fleet::start(1, 1);
    let cat = "[program.cat]\ncommand = \"cat\"\nstdin = true\nstartsecs = 0\n";
    fleet.apply(&format!("{SHOP}{JOB}{cat}"));
    Transcript::of(&fleet)
        .run("signal WINCH shop:*")
        .run("signal SIGWINCH cat -o json")
        .run("signal WINSH web")
        .run("signal HUP job")
        .run("signal HUP nothing")
        .run("signal HUP")
        .run("stdin cat a word")
        .run("stdin cat --eof")
        .run("stdin web word")
        .run("stdin web:0 word")
        .run("attach web")
        .run("attach nothing")
        .run("run -- echo done")
        .run("run -- false")
        .run("run -- /no/such/command")
        .run("run --name web -- true")
        .run("run --numproc 2 -- true")
        .run("run --kind service -- true")
        .run("run")
        .is("hands");
}

#[test]
fn verbs_that_show() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&[SHOP, JOB].concat());
    fleet.wait_row("job:0", "done", |row| row["state"] == "EXITED");
    Transcript::of(&fleet)
        .run("status")
        .run("status web:0 -o json")
        .run("status web:0 -o yaml")
        .run("status -o name")
        .run("status nothing")
        .run("pid web:9")
        .run("pid job")
        .run("describe web:0 -n 1")
        .run("explain web:0")
        .run("explain nothing")
        .run("groups")
        .run("groups -o json")
        .run("workers -o name")
        .run("workers w9")
        .run("events job")
        .run("events nothing")
        .run("events --type NOTHING")
        .run("logs job")
        .run("logs nothing")
        .run("rollout status")
        .is("show");
}

#[test]
fn verbs_about_workers_and_events() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&[SHOP, JOB].concat());
    Transcript::of(&fleet)
        .run("cordon w1")
        .run("cordon w1 -o json")
        .run("uncordon w1")
        .run("drain w1 --timeout 1s")
        .run("drain w9")
        .run("undrain w1")
        .run("forget w1")
        .run("rebalance")
        .run("rebalance --dry-run -o json")
        .run("emit deployed hello")
        .run("emit")
        .run("listen --list")
        .run("listen --forget nobody")
        .run("statsu")
        .run("start --what web")
        .is("workers");
}

#[test]
fn without_a_fleet() {
    let fleet = Fleet::bare();
    Transcript::of(&fleet).run("status").run("workers").run("events").run("start web").is("nobody");
}
