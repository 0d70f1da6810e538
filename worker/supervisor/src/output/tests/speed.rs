//! How quick it is. A machine that is busy may be slow, so nothing is asserted but the bytes; run
//! it by hand, with a greater `MIB`, `--release` and `--nocapture`, to see the numbers.

use std::io::PipeReader;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::*;
use crate::clock;

/// What flows; 256 to measure.
const MIB: u64 = 16;
/// Size of a file as a part of it: ten rotated files hold all.
const FILES: u64 = 5;

fn flood() -> (PipeReader, std::process::Child) {
    let (pipe, writer) = io::pipe().unwrap();
    let size = format!("{MIB}M");
    let mut head = Command::new("head");
    let child = head.args(["-c", &size, "/dev/zero"]).stdout(writer).spawn().unwrap();
    (pipe, child)
}

/// How long `cat > file` takes for it.
fn cat(path: &Path) -> Duration {
    let began = clock::now().boot;
    let (pipe, mut head) = flood();
    let file = fs::File::create(path).unwrap();
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::from(pipe)).stdout(file).status().unwrap();
    head.wait().unwrap();
    clock::now().boot.since(began)
}

/// What this thread has worked, without what others took from it.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// How long an outlet takes, what it works for that, and in its longest turn.
fn outlet(path: &Path, change: impl FnOnce(&mut Plan)) -> [Duration; 3] {
    let mut outputs = Outputs::default();
    let mut plan = plan(&[path.to_owned()]);
    plan.rotation = Rotation { bytes_max: (MIB << 20) / FILES, backups: 10, ..plan.rotation };
    change(&mut plan);
    let began = clock::now().boot;
    let (pipe, mut head) = flood();
    let mut outlet = outputs.attach(pipe, plan).unwrap();
    let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
    let mut said = Vec::new();
    while let Some(pipe) = outlet.fd() {
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE).unwrap();
        let turn = worked();
        outlet.read(&mut outputs, &mut said);
        let turn = worked().saturating_sub(turn);
        (longest, all) = (longest.max(turn), all + turn);
        said.clear();
    }
    head.wait().unwrap();
    [clock::now().boot.since(began), all, longest]
}

#[test]
fn a_flood_passes_whichever_way() {
    let directory = tempfile::tempdir().unwrap();
    let plain = cat(&directory.path().join("cat"));
    fs::remove_file(directory.path().join("cat")).unwrap();
    println!("cat > file: {plain:?}");
    let ways: [(&str, Way); 4] = [
        ("one file", |_| {}),
        ("events", |plan| plan.events = true),
        ("all", |plan| {
            (plan.strip_ansi, plan.timestamps, plan.capture_max) = (true, true, 1000);
        }),
        ("two backups", |plan| plan.rotation.backups = 2),
    ];
    for (name, way) in ways {
        let path = directory.path().join(name);
        let [took, worked, longest] = outlet(&path, way);
        println!("{name}: {took:?}, of work {worked:?}, in the longest turn {longest:?}");
        let whole = (0..=10).map(|number| match number {
            0 => path.clone(),
            _ => rotation::plain(&path, number),
        });
        let bytes: u64 = whole.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
        if !matches!(name, "all" | "two backups") {
            assert_eq!(bytes, MIB << 20, "{name}");
        }
        fs::remove_dir_all(directory.path()).unwrap();
        fs::create_dir(directory.path()).unwrap();
    }
}
