//! A pipe, an outlet, and what comes out of it.

mod changing;
mod sinks;
mod speed;

use std::fs;
use std::io::{self, PipeWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::Settings;

/// An outlet with its pipe, and a directory for its files.
struct Stage {
    directory: TempDir,
    outputs: Outputs,
    outlet: Outlet,
    /// `None` once the child has ended.
    child: Option<PipeWriter>,
    said: Vec<Said>,
}

fn plan(files: &[PathBuf]) -> Plan {
    Plan {
        files: files.to_vec(),
        stdout: false,
        stderr: false,
        syslog: None,
        rotation: Rotation { bytes_max: 1 << 20, backups: 9, ..Rotation::default() },
        capture_max: 0,
        events: false,
        timestamps: false,
        strip_ansi: false,
    }
}

impl Stage {
    /// With one file, `out`, and what else is wanted.
    fn new(change: impl FnOnce(&mut Plan)) -> Stage {
        Stage::with(&Settings::default(), change)
    }

    fn with(settings: &Settings, change: impl FnOnce(&mut Plan)) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::new(settings);
        let mut plan = plan(&[directory.path().join("out")]);
        change(&mut plan);
        let (pipe, child) = io::pipe().unwrap();
        let outlet = outputs.attach(pipe, plan).unwrap();
        Stage { directory, outputs, outlet, child: Some(child), said: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The child says something, and it is read.
    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        for chunk in bytes.as_ref().chunks(60_000) {
            self.child.as_mut().unwrap().write_all(chunk).unwrap();
            self.outlet.read(&mut self.outputs, &mut self.said);
        }
    }

    /// The child ends; returns all that was told so far.
    fn end(&mut self) -> Vec<Said> {
        self.child = None;
        self.outlet.drain(&mut self.outputs, &mut self.said);
        assert!(self.outlet.fd().is_none());
        std::mem::take(&mut self.said)
    }

    /// Clears the files of such a plan.
    fn clear(&mut self, change: impl FnOnce(&mut Plan)) -> Result<(), String> {
        let mut plan = plan(&[self.path("out")]);
        change(&mut plan);
        self.outputs.clear(&plan)
    }

    fn change(&mut self, change: impl FnOnce(&mut Plan)) {
        let mut plan = plan(&[self.path("out")]);
        change(&mut plan);
        self.outlet.change(&mut self.outputs, plan, &mut self.said);
    }
}

fn log(text: &str) -> Said {
    Said::Log(text.into())
}

/// All files of a log, oldest first, as one.
fn whole(path: &Path) -> Vec<u8> {
    let rotated = (1..50).rev().map(|number| rotation::plain(path, number));
    rotated.chain([path.to_owned()]).flat_map(|path| fs::read(path).unwrap_or_default()).collect()
}

/// A change of a plan.
type Way = fn(&mut Plan);

/// Keys that make no difference to what is in the file, but to how it gets there.
const WAYS: &[Way] = &[|_| {}, |plan| plan.events = true, |plan| plan.capture_max = 10];

#[test]
fn every_byte_arrives_over_rotations_whichever_way_it_goes() {
    let bytes: Vec<u8> =
        (0..500_000u32).map(|n| (n.wrapping_mul(n) / 7).to_le_bytes()[1]).collect();
    for way in WAYS {
        let mut stage = Stage::new(|plan| {
            plan.rotation.bytes_max = 20_000;
            plan.rotation.backups = 40;
            way(plan);
        });
        stage.say(&bytes[..400_000]);
        // Rotated many times before it is read.
        stage.child.as_mut().unwrap().write_all(&bytes[400_000..450_000]).unwrap();
        stage.end();
        assert!(whole(&stage.path("out")) == bytes[..450_000]);
        assert!(rotation::plain(&stage.path("out"), 6).exists());
    }
}

#[test]
fn the_last_word_is_there_however_short() {
    for way in WAYS {
        let mut stage = Stage::new(way);
        assert_eq!(stage.outlet.last_line(), None);
        stage.say("first\n");
        assert_eq!(stage.outlet.last_line().as_deref(), Some("first"));
        stage.say("\n<!--XSUPERV");
        stage.child.as_mut().unwrap().write_all(b"last").unwrap();
        stage.end();
        assert_eq!(stage.file("out"), "first\n\n<!--XSUPERVlast");
        assert_eq!(stage.outlet.last_line().as_deref(), Some("<!--XSUPERVlast"));
    }
}

#[test]
fn the_last_line_is_the_childs_own_also_over_rotations_and_without_a_file() {
    let mut stage = Stage::new(|plan| plan.rotation.bytes_max = 4);
    fs::write(stage.path("out"), "earlier child\n").unwrap();
    assert_eq!(stage.outlet.last_line(), None);
    stage.say("one");
    stage.say("two");
    assert_eq!(stage.outlet.last_line().as_deref(), Some("onetwo"));
    let mut stage = Stage::new(|plan| plan.files.clear());
    stage.say("nowhere\n");
    assert_eq!(stage.outlet.last_line().as_deref(), Some("nowhere"));
}

#[test]
fn a_flood_is_read_in_turns_through_a_pipe_that_grows() {
    use std::os::fd::AsFd;

    use nix::fcntl::{FcntlArg, fcntl};
    let mut stage = Stage::new(|_| {});
    let size = |stage: &Stage| fcntl(stage.child.as_ref().unwrap().as_fd(), FcntlArg::F_GETPIPE_SZ);
    let usual = size(&stage).unwrap();
    stage.say(vec![b'x'; 600_000]);
    assert_eq!(size(&stage).unwrap(), usual, "a child that lets us keep up needs no more");
    for _ in 0..20 {
        stage.child.as_mut().unwrap().write_all(&vec![b'x'; 65_536]).unwrap();
        stage.outlet.read(&mut stage.outputs, &mut stage.said);
    }
    // A user who has too many great pipes already gets no more.
    if size(&stage).unwrap() > usual {
        stage.child.as_mut().unwrap().write_all(&vec![b'x'; 1 << 20]).unwrap();
        let before = whole(&stage.path("out")).len();
        stage.outlet.read(&mut stage.outputs, &mut stage.said);
        let turn = whole(&stage.path("out")).len() - before;
        assert!(turn < 400_000, "{turn} bytes in one turn");
    }
    stage.end();
    assert!(whole(&stage.path("out")).len() >= 600_000 + 20 * 65_536);
}

#[test]
fn what_others_hold_open_ends_nothing() {
    let mut stage = Stage::new(|_| {});
    let holder = stage.child.as_ref().unwrap().try_clone().unwrap();
    stage.say("out\n");
    stage.end();
    assert_eq!(stage.file("out"), "out\n");
    drop(holder);
    let mut stage = Stage::new(|_| {});
    stage.child = None;
    stage.outlet.read(&mut stage.outputs, &mut stage.said);
    assert!(stage.outlet.fd().is_none());
    assert_eq!(stage.end(), []);
}
