//! The client for Python: its own tests, its types, and its package.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dev::{DSBUS, root, said};

fn client() -> PathBuf {
    root().join("clients/python")
}

/// Python, with the client, what it uses, and these of what `./run setup` fetches.
fn python(tools: &[&str]) -> Command {
    let mut path = vec![client().join("src")];
    for tool in tools {
        let tool = root().join(".tools").join(tool);
        assert!(tool.is_dir(), "{} is missing: ./run setup fetches it", tool.display());
        path.push(tool);
    }
    // Where ./run test found nats-py.
    path.extend(std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths));
    let mut command = Command::new("python3");
    command
        .current_dir(client())
        .env("PYTHONPATH", std::env::join_paths(path).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// With pytest as schemathesis brings it.
#[test]
fn the_python_client_does_what_its_tests_say() {
    let mut pytest = python(&["schemathesis"]);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]);
    pytest.env("DSBUS", DSBUS).env("DSBUS_NATS_SERVER", dsbus_harness::nats_server());
    pytest.env("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1");
    let out = succeeds(&mut pytest);
    assert!(out.contains(" passed") && !out.contains("skipped"), "{out}");
}

#[test]
fn the_python_client_is_typed() {
    let cache = tempfile::tempdir().unwrap();
    let mut mypy = python(&["mypy", "schemathesis"]);
    mypy.args(["-m", "mypy", "src", "tests", "--cache-dir"]).arg(cache.path());
    succeeds(&mut mypy);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What a package that is unpacked here says of itself, and decides what is installed.
fn headers(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let info = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "dist-info"));
    let text = std::fs::read_to_string(info.unwrap().join("METADATA")).unwrap();
    let kept = ["Name:", "Version:", "Summary:", "Classifier:", "Requires-", "Provides-"];
    let lines = text.lines().take_while(|line| !line.is_empty());
    let mut kept: Vec<_> = lines
        .filter(|line| kept.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect();
    kept.sort();
    kept
}

/// What `pip install` puts there is the whole client, with its types. Built by the `flit_core` that
/// `./run test` has fetched, so that nothing is fetched here.
#[test]
fn the_python_client_is_installed_by_pip() {
    let place = tempfile::tempdir().unwrap();
    // Building leaves files beside the source.
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    copy(&client(), &source);
    let mut pip = python(&[]);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]);
    succeeds(pip.arg(&target).arg(&source));
    for name in ["py.typed", "types.py", "distsuper.py"] {
        assert!(target.join("dsbus").join(name).is_file(), "{name}");
    }
    // Installers believe of one what they have read of another.
    let wheel = succeeds(python(&[]).arg(root().join("packaging/wheel.py")).arg(place.path()));
    let unpack = ["-m", "zipfile", "-e", wheel.trim()];
    let unpacked = place.path().join("unpacked");
    succeeds(python(&[]).args(unpack).arg(&unpacked));
    assert_eq!(headers(&target), headers(&unpacked), "flit and packaging/wheel.py differ");
    let import = "import dsbus, sys; assert dsbus.__file__.startswith(sys.argv[1])";
    let mut installed = python(&[]);
    let path = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let path = [target.clone()].into_iter().chain(std::env::split_paths(&path));
    installed.env("PYTHONPATH", std::env::join_paths(path).unwrap());
    succeeds(installed.args(["-c", import]).arg(&target));
}
