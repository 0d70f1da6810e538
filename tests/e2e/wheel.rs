//! `pip install dsbus`, from a wheel.

use std::path::Path;
use std::process::Command;

use crate::fleet::{DSBUS, said};

#[test]
fn a_wheel_brings_the_binary_into_a_clean_environment() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let run = |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).current_dir(here).output().unwrap();
        assert!(output.status.success(), "{program:?} {words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/wheel.py");
    let python = Path::new("python3");
    let wheel = run(python, &[script, DSBUS, ".", "--fast"]);
    run(python, &["-m", "venv", "--without-pip", "v"]);
    let pip = ["-m", "pip", "--python", "v/bin/python", "install", "--quiet", "--no-index"];
    run(python, &[&pip[..], &["--disable-pip-version-check", "--no-deps", wheel.trim()]].concat());
    let version = run(&here.join("v/bin/dsbus"), &["--version"]);
    assert_eq!(version, run(Path::new(DSBUS), &["--version"]));
    let known = "import importlib.metadata as m; print('dsbus', m.version('dsbus'))";
    assert_eq!(run(&here.join("v/bin/python"), &["-c", known]), version);
}
