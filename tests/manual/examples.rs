//! A program is stopped and started by plain NATS clients, in Python, in Node and in a shell.

use std::os::unix::fs::symlink;
use std::process::Command;

use dsbus_harness::wait_until;

use crate::book::client_path;
use crate::dev::{DEADLINE, Dev, Place, root, said};

fn hello() -> Dev {
    let hello = root().join("examples/hello.toml");
    Dev::start(Place::new(), &["--no-gateway", hello.to_str().unwrap()])
}

/// Runs an example until it prints what it should. It listens for some seconds, and a busy machine may need
/// longer for what is to be seen then.
fn runs(example: impl Fn() -> Command) {
    wait_until("an example to show all", DEADLINE * 2, || {
        let output = example().output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && shows_all(&out) { Ok(()) } else { Err(said(&output)) }
    });
}

/// What every example prints: both commands were taken, and each copy went through its states.
fn shows_all(out: &str) -> bool {
    let states = ["hello:0", "hello:1", "hello:2"].iter().all(|name| {
        let lines: Vec<&str> = out.lines().filter(|line| line.contains(name)).collect();
        ["STOPPED", "RUNNING"].iter().all(|state| {
            let about = |line: &&str| line.contains(state) || line.contains(&state.to_lowercase());
            lines.iter().any(about)
        })
    });
    states && out.contains("stop accepted") && out.contains("start accepted")
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
    let example = || {
        let mut node = dev.place.command("node");
        node.arg(&script);
        node
    };
    runs(example);
    is_refused(&dev, example());
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
    runs(example);
    is_refused(&dev, example());
}

/// With the `nats` tool where it is installed, and else with what stands in for it.
#[test]
fn a_shell_needs_nothing_but_the_nats_tool() {
    let dev = hello();
    let script = root().join("examples/command.sh");
    let example = || {
        let mut shell = dev.place.command("sh");
        shell.arg(&script);
        shell
    };
    runs(example);
    is_refused(&dev, example());
}
