//! Every command block of the README and the manual is run, page by page, in a fresh directory with
//! a fleet of its own; what a page says is printed is compared with what is.
//!
//! - ```` ```sh ````: commands that must succeed. ```` ```console ````: `$ ` commands, each with what
//!   it prints, but for numbers, times, addresses and which worker it is; `...` is any lines.
//! - ```` ```toml web.toml ````: a file that the commands use. ```` ```toml worker ````: a part of a file
//!   that they do not use, of programs where nothing says whose it is: `parts.rs` reads it.
//! - ```` ```python ````: run with the client of this repository, and the fleet's gateway.
//! - ```` ```sh no-run: WHY ````: not run; [`NOT_RUN`] says how many of these a page has.
//! - `<!-- fleet: none -->`: the page starts what it needs. `<!-- fleet: --workers 1 -->`: `dsbus
//!   dev --workers 1` runs beside it; else one with three workers.
//! - `localhost:9001` is where the gateway of the page's fleet listens.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_harness::{Port, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::dev::{DEADLINE, DSBUS, Dev, Place, root};
use crate::page::{Kind, Page, Step, is_as_said};

/// How many blocks of commands of each page are not run. Fewer is better.
const NOT_RUN: &[(&str, usize)] = &[
    ("CONTRIBUTING.md", 1),
    ("clients/python/README.md", 1),
    ("compose/README.md", 6),
    ("docs/backup.md", 4),
    ("docs/howto/alerting.md", 1),
    ("docs/howto/from-distsuper.md", 1),
    ("docs/howto/install.md", 7),
    ("docs/release.md", 1),
    ("docs/secrets.md", 1),
    ("docs/security.md", 2),
    ("docs/tutorial/failover.md", 1),
    ("docs/tutorial/first-fleet.md", 1),
    ("docs/upgrade.md", 1),
];

/// Pages whose commands are run, as whoever runs the tests, on this machine: a page is put here by
/// somebody who has read its commands, and marked those that would change the machine.
const RUN: &[&str] = &[
    "README.md",
    "docs/backup.md",
    "docs/bus.md",
    "docs/explanation/failover.md",
    "docs/howto/alerting.md",
    "docs/howto/from-distsuper.md",
    "docs/howto/from-pm2.md",
    "docs/howto/from-supervisord.md",
    "docs/howto/from-systemd.md",
    "docs/howto/install.md",
    "docs/howto/multi-site.md",
    "docs/howto/rolling-update.md",
    "docs/http.md",
    "docs/operations/sizing.md",
    "docs/operations/troubleshooting.md",
    "docs/secrets.md",
    "docs/security.md",
    "docs/tutorial/failover.md",
    "docs/tutorial/first-fleet.md",
    "docs/tutorial/three-machines.md",
];

/// Pages whose examples are run by tests of their own.
const RUN_ELSEWHERE: &[(&str, &str)] =
    &[("clients/python/README.md", "clients/python/tests/test_readme.py")];

/// Blocks of the README that a test cannot run, by their first line.
const NOT_RUN_IN_README: &[&str] = &[
    // These are what runs this test.
    "./run",
    "./run test",
    "export PATH=$PWD/target/debug:$PATH",
    // Its last command goes on until Ctrl-C; `tests/manual/examples.rs` runs the same.
    "nats req dsbus.default.cmd.anonymous.status '{}'",
];

/// For all commands of a block together: some wait for one thing after the other.
const BLOCK_MAX: Duration = Duration::from_secs(300);

/// Pages that run side by side: each mostly waits.
const AT_ONCE: usize = 3;

/// Ports of pages that start NATS servers: others are taken in their place.
const PORTS: &[&str] = &["4222", "4223", "4224", "6222", "6223", "6224"];

/// Verbs that only look: asked again until they say what the page says, since it takes a moment.
const LOOKS: &[&str] = &[
    "status",
    "events",
    "workers",
    "explain",
    "describe",
    "history",
    "logs",
    "groups",
    "rollout status",
    "secret list",
    "supervisorctl status",
    "version",
    "doctor",
    "alert letters",
];

/// A shell in which the commands of one page are typed.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    done: Receiver<String>,
    dev: Option<Dev>,
    alone: Option<Place>,
    gateway: String,
    /// Free ports for those that pages without a fleet name.
    ports: Vec<(&'static str, Port)>,
}

impl Shell {
    fn start(page: &Page) -> Shell {
        let place = Place::new();
        let (dev, alone) = match &page.fleet {
            None => (None, Some(place)),
            Some(words) => {
                // Files of the repository go by their path there.
                let word = |word: &String| match root().join(word) {
                    file if word.starts_with("examples/") => file.display().to_string(),
                    _ => word.clone(),
                };
                let words: Vec<String> = words.iter().map(word).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                (Some(Dev::start(place, &words)), None)
            }
        };
        let place = dev.as_ref().map_or_else(|| alone.as_ref().unwrap(), |dev| &dev.place);
        let gateway = dev.as_ref().and_then(|dev| dev.gateway.clone()).unwrap_or_default();
        let mut command = place.command("bash");
        command.args(["--norc", "--noprofile"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Whatever it leaves running ends with it.
        let mut child = command.process_group(0).spawn().unwrap();
        let (sender, done) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take().unwrap();
        let named: &[_] = if page.fleet.is_none() { PORTS } else { &[] };
        let ports = named.iter().map(|port| (*port, Port::reserve())).collect();
        Shell { child, stdin, done, dev, alone, gateway, ports }
    }

    fn place(&self) -> &Place {
        self.dev.as_ref().map_or_else(|| self.alone.as_ref().unwrap(), |dev| &dev.place)
    }

    fn here(&self, text: &str) -> String {
        let text = text.replace("localhost:9001", &self.gateway);
        let free = |text: String, (named, port): &(&str, Port)| {
            text.replace(named, &port.number().to_string())
        };
        self.ports.iter().fold(text, free)
    }

    /// Types commands, and waits until they are done: whether that came, and what they print. Where
    /// they must succeed, the first one that does not ends the shell.
    fn run(&mut self, commands: &str, must: bool) -> (bool, String) {
        let directory = self.place().directory.path().to_owned();
        let (script, out) = (directory.join("script"), directory.join("out"));
        let commands = self.here(commands);
        let traced = if must { format!("set -ex\n{commands}\nset +ex\n") } else { commands };
        std::fs::write(&script, traced).unwrap();
        let (script, out) = (script.display(), out.display());
        let done = self.say(&format!(". {script} >{out} 2>&1 </dev/null; echo done"));
        (done, std::fs::read_to_string(directory.join("out")).unwrap_or_default())
    }

    /// Types a line, and waits until the shell says that it is done.
    fn say(&mut self, line: &str) -> bool {
        // A shell that has ended hears nothing.
        let _ = writeln!(self.stdin, "{line}");
        self.done.recv_timeout(BLOCK_MAX).is_ok()
    }

    /// Types a command, and sees that it prints what the page says.
    fn step(&mut self, at: &str, step: &Step) {
        let verb = step.command.strip_prefix("dsbus ").unwrap_or_default();
        // Each is told as soon as it is so.
        let any_order = ["events", "apply", "remove"].iter().any(|one| verb.starts_with(one));
        let mut tried = || {
            let (done, printed) = self.run(&step.command, false);
            assert!(done, "{at}: $ {} did not end: {printed}", step.command);
            let right = is_as_said(&step.printed, &printed, any_order);
            if right { Ok(()) } else { Err(Shown(printed)) }
        };
        if LOOKS.iter().any(|look| verb.starts_with(look)) {
            let what = format!("{at}: $ {} to print what the page says", step.command);
            wait_until(&what, DEADLINE, tried);
        } else if let Err(printed) = tried() {
            panic!("{at}: $ {} printed otherwise: {printed:?}", step.command);
        }
    }
}

/// Where Python finds the client, and what it uses.
pub(crate) fn client_path() -> std::ffi::OsString {
    let mut path = vec![root().join("clients/python/src"), root().join(".tools/python")];
    path.extend(std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths));
    std::env::join_paths(path).unwrap()
}

/// A text that is shown with its lines.
struct Shown(String);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Daemons that it has started stop what is theirs, when they are asked to.
        self.say("jobs -p | xargs -r kill; wait; echo done");
        let _ = killpg(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Runs a page.
fn run(page: &Page) {
    let mut shell = Shell::start(page);
    for block in &page.blocks {
        let at = format!("{page}:{}", block.line);
        match &block.kind {
            Kind::File(name) => {
                let path = shell.place().path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, shell.here(&block.text)).unwrap();
            }
            Kind::Commands => {
                let (done, printed) = shell.run(&block.text, true);
                assert!(done, "{at}: failed, and printed:\n{printed}");
            }
            Kind::Python => {
                std::fs::write(shell.place().path().join("block.py"), &block.text).unwrap();
                let path = client_path();
                let path = path.to_str().unwrap();
                let gateway = format!("http://{}", shell.gateway);
                let command =
                    format!("PYTHONPATH='{path}' DSBUS_GATEWAY={gateway} python3 block.py");
                let (done, printed) = shell.run(&command, true);
                assert!(done, "{at}: failed, and printed:\n{printed}");
            }
            Kind::Session(steps) => steps.iter().for_each(|step| shell.step(&at, step)),
            Kind::Part(_) | Kind::NotRun => {}
        }
    }
}

/// The pages that the manual's list of chapters names, from the root of the repository.
pub(crate) fn chapters() -> Vec<String> {
    let list = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let links = list.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let from_root = |link: &str| match link.strip_prefix("../") {
        Some(path) => path.to_owned(),
        None => format!("docs/{link}"),
    };
    links.map(from_root).collect()
}

/// Every page of the manual, which the README is one of.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = chapters();
    paths.sort_unstable();
    let read = |path: &String| {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let mut page = Page::read(path, &text).unwrap_or_else(|why| panic!("{why}"));
        if path == "README.md" {
            let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
            let skipped = |text: &str| NOT_RUN_IN_README.contains(&first(text).as_str());
            page.blocks.retain(|block| !skipped(&block.text));
            page.fleet = Some(vec!["examples/hello.toml".to_owned()]);
        }
        page
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_page_is_a_chapter() {
    let chapters = chapters();
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if Path::new(&path).extension() == Some(OsStr::new("md")) {
                let known = path == "docs/SUMMARY.md" || chapters.contains(&path);
                assert!(known, "{path} is no chapter: name it in docs/SUMMARY.md");
            }
        }
    }
}

/// `DSBUS_PAGE=tutorial` runs only pages whose path has that in it.
#[test]
fn every_command_of_the_manual_does_what_it_says() {
    let only = std::env::var_os("DSBUS_PAGE").and_then(|only| only.into_string().ok());
    let meant = |path: &str| only.as_ref().is_none_or(|only| path.contains(only));
    let runs = |page: &Page| RUN.contains(&page.path.as_str()) && meant(&page.path);
    let waiting: Mutex<Vec<Page>> = Mutex::new(pages().into_iter().filter(runs).collect());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(page) = waiting.lock().unwrap().pop() else { return };
                    // The others are tried all the same.
                    if catch_unwind(AssertUnwindSafe(|| run(&page))).is_err() {
                        wrong.lock().unwrap().push(page.path);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "not as they say; see above: {}", wrong.join(", "));
}

#[test]
fn what_is_not_run_is_counted() {
    let pages = pages();
    let of = |path: &str| pages.iter().find(|page| page.path == path);
    for path in RUN {
        assert!(of(path).is_some_and(Page::runs), "{path} has no commands: take it out of RUN");
    }
    for page in &pages {
        let elsewhere = RUN_ELSEWHERE.iter().find(|(path, _)| *path == page.path);
        if let Some((_, test)) = elsewhere {
            assert!(root().join(test).is_file(), "{page}: {test} does not run it");
        }
        let known = elsewhere.is_some() || RUN.contains(&page.path.as_str());
        assert!(
            known || !page.runs(),
            "{page} has commands: mark those that may not be run here `no-run: WHY`, and put the page into RUN"
        );
        let known = NOT_RUN.iter().find(|(path, _)| *path == page.path);
        let known = known.map_or(0, |(_, count)| *count);
        let count = page.not_run();
        assert_eq!(count, known, "{page}: change the commands so that they run, or NOT_RUN");
    }
}

#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let printed = Command::new(DSBUS).args(["man", "--markdown"]).output().unwrap();
    let kept = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let same = printed.stdout == kept.as_bytes();
    assert!(same, "docs/cli.md is not what the command line is: ./run schemas, and commit");
}
