//! `pip install dsbus`, from wheels.

use std::path::Path;
use std::process::Command;

use crate::fleet::{DSBUS, said};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/wheel.py");

/// What a program prints that is run in `here`.
fn run(here: &Path, program: impl AsRef<Path>, words: &[&str]) -> String {
    let output = Command::new(program.as_ref()).args(words).current_dir(here).output().unwrap();
    assert!(output.status.success(), "{} {words:?}: {}", program.as_ref().display(), said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn pip(here: &Path, words: &[&str]) {
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
    let from = ["--no-index", "--find-links", ".", "--no-deps", "dsbus"];
    run(here, "python3", &[&pip[..], words, &from[..]].concat());
}

/// Both wheels, by their names.
fn wheels(here: &Path) -> [String; 2] {
    [&[DSBUS][..], &[]].map(|binary| {
        let path = run(here, "python3", &[&[SCRIPT, ".", "--fast"], binary].concat());
        path.trim().to_owned()
    })
}

/// On this machine pip takes the wheel that brings the program, though the other one lies beside it.
#[test]
fn a_wheel_brings_the_binary_into_a_clean_environment() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    wheels(here);
    run(here, "python3", &["-m", "venv", "--without-pip", "v"]);
    pip(here, &["--python", "v/bin/python", "install"]);
    let version = run(here, here.join("v/bin/dsbus"), &["--version"]);
    assert_eq!(version, run(here, DSBUS, &["--version"]));
    let known = "import importlib.metadata as m; print('dsbus', m.version('dsbus'))";
    assert_eq!(run(here, here.join("v/bin/python"), &["-c", known]), version);
    // It is looked for, and not imported: that takes nats-py.
    let module = "import importlib.util as u; print(u.find_spec('dsbus').origin)";
    let module = run(here, here.join("v/bin/python"), &["-c", module]);
    assert!(module.contains("/v/lib/"), "{module}");
}

/// Where dsbus does not run, the module comes alone; and what pip reads of either is true of both.
#[test]
fn other_machines_have_the_module_alone() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let [with, without] = wheels(here);
    let elsewhere = ["download", "--platform", "macosx_11_0_arm64", "--only-binary", ":all:"];
    pip(here, &[&elsewhere[..], &["--dest", "taken"]].concat());
    let taken: Vec<_> =
        here.join("taken").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(taken, [without.as_str()]);
    let metadata = |wheel: &str| {
        let name = wheel.split("-py3-").next().unwrap();
        let read = format!(
            "import zipfile; print(zipfile.ZipFile('{wheel}').read('{name}.dist-info/METADATA').decode())"
        );
        run(here, "python3", &["-c", &read])
    };
    assert_eq!(metadata(&with), metadata(&without));
}
