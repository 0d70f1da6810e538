//! A program is stopped and started by plain NATS clients, in Python, in Node and in a shell.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::book::client_path;
use crate::dev::{Dev, Place, root, said};

fn hello() -> Dev {
    let hello = root().join("examples/hello.toml");
    Dev::start(Place::new(), &["--no-gateway", hello.to_str().unwrap()])
}

/// What every example prints: both commands were taken, and each copy went through its states.
fn check(out: &str) {
    assert!(out.contains("stop accepted") && out.contains("start accepted"), "{out}");
    for name in ["hello:0", "hello:1", "hello:2"] {
        let lines: Vec<&str> = out.lines().filter(|line| line.contains(name)).collect();
        for state in ["STOPPED", "RUNNING"] {
            let about = |line: &&str| line.contains(state) || line.contains(&state.to_lowercase());
            assert!(lines.iter().any(about), "{name} {state}: {out}");
        }
    }
}

#[test]
fn node_needs_nothing_but_its_nats_client() {
    let Some(modules) = std::env::var_os("DSBUS_NODE_MODULES") else {
        let hint =
            "SKIPPED: DSBUS_NODE_MODULES is not set; ./run test fetches Node and its packages\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), hint.as_bytes());
        return;
    };
    let dev = hello();
    // Node looks for packages beside the script.
    let script = dev.place.path().join("command.mjs");
    std::fs::copy(root().join("examples/command.mjs"), &script).unwrap();
    symlink(modules, dev.place.path().join("node_modules")).unwrap();
    let output = dev.place.command("node").arg(&script).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    check(&String::from_utf8_lossy(&output.stdout));
    let mut again = dev.place.command("node");
    again.arg(&script);
    is_refused(&dev, again);
}

/// Whoever runs an example in a script sees by its exit code that a command was refused.
fn is_refused(dev: &Dev, mut example: Command) {
    let removed = dev.place.command("dsbus").args(["remove", "hello"]).output().unwrap();
    assert!(removed.status.success(), "{}", said(&removed));
    let refused = example.output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("stop: ") && told.contains("hello"), "{}", said(&refused));
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("accepted"), "{}", said(&refused));
}

#[test]
fn python_needs_nothing_but_its_nats_client() {
    let dev = hello();
    let example = || {
        let mut python = dev.place.command("python3");
        python.arg(root().join("examples/command.py")).env("PYTHONPATH", client_path());
        python
    };
    let output = example().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    check(&String::from_utf8_lossy(&output.stdout));
    is_refused(&dev, example());
}

/// With the `nats` tool where it is installed, and else with what stands in for it.
#[test]
fn a_shell_needs_nothing_but_the_nats_tool() {
    let dev = hello();
    let script = root().join("examples/command.sh");
    let output = dev.place.command("sh").arg(&script).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    check(&String::from_utf8_lossy(&output.stdout));
    let mut again = dev.place.command("sh");
    again.arg(&script);
    is_refused(&dev, again);
}
