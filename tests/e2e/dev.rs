//! `dsbus dev`, and the README's demo.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::fleet::{DEADLINE, DSBUS};
use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A `dsbus dev` in a directory of its own.
struct Dev {
    child: Child,
    /// What it prints, line by line.
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    directory: PathBuf,
}

impl Dev {
    fn start(directory: &Path, args: &[&str]) -> Dev {
        let mut child = Command::new(DSBUS)
            .arg("dev")
            .args(args)
            .current_dir(directory)
            .env("DSBUS_NATS_SERVER", dsbus_harness::nats_server())
            .env_remove("NATS_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut dev = Dev { child, lines, seen: Vec::new(), directory: directory.to_owned() };
        dev.wait_line("Ctrl-C");
        dev
    }

    fn wait_line(&mut self, part: &str) {
        wait_until(&format!("dev to print {part:?}"), DEADLINE * 2, || {
            self.seen.extend(self.lines.try_iter());
            if self.seen.iter().any(|l| l.contains(part)) {
                Ok(())
            } else {
                Err(self.seen.join("\n"))
            }
        });
    }

    /// Runs a command line in its directory; what it prints.
    fn shell(&self, line: &str) -> String {
        let path = Path::new(DSBUS).parent().unwrap().display();
        let path = format!("{path}:{}", std::env!("PATH"));
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.directory)
            .env("PATH", path)
            .env_remove("NATS_URL")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What runs; a scheduler that is slow is asked again.
    fn status(&self) -> Vec<Value> {
        wait_until("the status", DEADLINE, || {
            let shown = self.shell("dsbus status -o json");
            serde_json::from_str(&shown).map_err(|_| shown)
        })
    }

    fn interrupt(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
        let status =
            wait_until("dev to end", DEADLINE, || self.child.try_wait().unwrap().ok_or(()));
        assert_eq!(status.code(), Some(0), "{}", self.seen.join("\n"));
        assert!(!self.directory.join(".dsbus/url").exists());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its children die with it. Mostly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that know of a directory, by their command line.
fn processes_of(directory: &Path) -> Vec<String> {
    let wanted = directory.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(wanted))
        .collect()
}

#[test]
fn a_fleet_kept_with_data_is_the_same_after_a_second_start() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let file = directory.path().join("web.toml");
    std::fs::write(&file, "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\n[program.api]\ncommand = \"sleep 1000\"\n").unwrap();
    let mut dev = Dev::start(directory.path(), &["--data", data, file.to_str().unwrap()]);
    dev.shell("dsbus stop api");
    dev.shell("dsbus restart web:0");
    let facts = |rows: &[Value]| -> Vec<String> {
        let keys = ["name", "id", "state", "worker", "epoch", "revision", "wanted"];
        rows.iter().map(|r| keys.map(|k| r[k].to_string()).join(" ")).collect()
    };
    let before = facts(&dev.status());
    assert_eq!(before.len(), 3);
    dev.interrupt();
    wait_until("nothing to be left behind", DEADLINE, || {
        let left = processes_of(directory.path());
        if left.is_empty() { Ok(()) } else { Err(left) }
    });

    let mut dev = Dev::start(directory.path(), &["--data", data]);
    let after = wait_until("the same fleet", DEADLINE, || {
        let after = facts(&dev.status());
        if after == before { Ok(after) } else { Err(after) }
    });
    assert_eq!(after, before);
    dev.interrupt();
}

#[test]
fn a_fleet_has_a_web_page_unless_nobody_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(directory.path(), &["--workers", "1"]);
    let said = dev.seen.join("\n");
    let page = said.split_once("web page: ").and_then(|(_, rest)| rest.lines().next());
    let page = page.unwrap_or_else(|| panic!("{said}")).to_owned();
    let title = |url: &str| {
        let mut answer = ureq::get(url).call().map_err(|e| e.to_string())?;
        answer.body_mut().read_to_string().map_err(|e| e.to_string())
    };
    let shown = wait_until("the page", DEADLINE, || title(&page));
    assert!(shown.contains("<title>dsbus</title>"), "{shown}");
    dev.interrupt();
    assert!(title(&page).is_err(), "it ends with the fleet");
    let dev = Dev::start(directory.path(), &["--workers", "1", "--no-gateway"]);
    assert!(!dev.seen.join("\n").contains("web page"));
}

#[test]
fn even_a_killed_dev_leaves_no_process_behind() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut dev =
        Dev::start(directory.path(), &["--workers", "1", "--data", data.to_str().unwrap()]);
    assert!(!processes_of(directory.path()).is_empty());
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    wait_until("all of it to end", DEADLINE, || {
        let left = processes_of(directory.path());
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// What a person would not compare: times, process ids, epochs, and the spaces around them.
fn masked(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let mut out = String::new();
            for c in line.chars() {
                match c {
                    '0'..='9' if out.ends_with('#') => {}
                    '0'..='9' => out.push('#'),
                    ' ' if out.ends_with(' ') => {}
                    c => out.push(c),
                }
            }
            // A terminal shows no date of today, a pipe always does.
            out.trim().replace("#-#-#T", "").replace("#.#Z", "#.#")
        })
        .filter(|line| !line.is_empty())
        .collect();
    // Events of two sources may be told in either order.
    lines.sort();
    lines
}

#[test]
fn the_readme_s_demo_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let demo = readme.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let hello = root.join("examples/hello.toml");
    let mut dev = Dev::start(directory.path(), &[hello.to_str().unwrap()]);
    for step in demo.split("$ ").skip(1) {
        let (line, said) = step.split_once('\n').unwrap();
        let wanted = masked(said);
        let once = line.contains("kill");
        let mut last = if once { dev.shell(line) } else { String::new() };
        wait_until(&format!("`{line}` to say what the README says"), DEADLINE, || {
            if !once {
                last = dev.shell(line);
            }
            if masked(&last) == wanted { Ok(()) } else { Err(format!("{last}\nwanted\n{said}")) }
        });
    }
    dev.interrupt();
}
