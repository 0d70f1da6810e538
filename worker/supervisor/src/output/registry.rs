//! What all children's output has in common: the files, since several may write to one, the
//! commands that compress, the sockets, and the buffer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use dsbus_schema::moment::BootTime;

use super::compress::{Compressors, CompressorsLeft};
use super::loss::Dropped;
use super::standard::Standard;
use super::syslog::Syslog;
use super::{LogFile, Outlet, Plan, Rotation};
use crate::Settings;

/// Bytes read at once: what a pipe holds, unless it was made greater.
pub(super) const CHUNK: usize = 64 * 1024;

/// The least number of files at which they are looked through; then it is twice as many as are
/// written to, so that it costs little for each.
const FILES_LOOKED_THROUGH_MIN: usize = 64;

/// A log file that may have several writers, who rotate it together.
pub(super) type SharedLog = Rc<RefCell<LogFile>>;

/// All output of children.
#[derive(Debug)]
pub(crate) struct Outputs {
    files: BTreeMap<PathBuf, Weak<RefCell<LogFile>>>,
    /// So many files are looked through for those that nobody writes to any more.
    look_through_at: usize,
    /// The directory that holds those of the instances, by the one name that it has.
    instances: Option<PathBuf>,
    compressors: Compressors,
    syslog: Syslog,
    stdout: Option<Standard>,
    stderr: Option<Standard>,
    /// One for all pipes: they are read one after the other.
    buffer: Vec<u8>,
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs::new(&Settings::default())
    }
}

impl Outputs {
    /// Nothing is attached yet.
    pub(crate) fn new(settings: &Settings) -> Outputs {
        let mut compressors = Compressors::default();
        compressors.set_command(&settings.compressor);
        Outputs {
            files: BTreeMap::new(),
            look_through_at: FILES_LOOKED_THROUGH_MIN,
            instances: None,
            compressors,
            syslog: Syslog::new(&settings.syslog),
            stdout: None,
            stderr: None,
            buffer: vec![0; CHUNK],
        }
    }

    /// Knows the worker's state directory, where most logs are.
    pub(crate) fn within(self, home: &Path) -> Outputs {
        Outputs { instances: home.join("instances").canonicalize().ok(), ..self }
    }

    /// Does what is due.
    pub(crate) fn tend(&mut self, now: BootTime) {
        self.compressors.tend(now);
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.compressors.deadline()
    }

    /// Obeys settings that were read again.
    pub(crate) fn set_settings(&mut self, settings: &Settings) {
        self.compressors.set_command(&settings.compressor);
        if self.syslog.path() != settings.syslog {
            self.syslog = Syslog::new(&settings.syslog);
        }
    }

    /// Reads `pipe` as planned from now on.
    ///
    /// # Errors
    /// When the pipe cannot be made non-blocking.
    pub(crate) fn attach(&mut self, pipe: PipeReader, plan: Plan) -> io::Result<Outlet> {
        Outlet::new(self, pipe, plan)
    }

    /// What goes to another version of the worker. Files and sockets are opened again there.
    pub(crate) fn hand_over(&self) -> CompressorsLeft {
        self.compressors.hand_over()
    }

    pub(crate) fn take_over(&mut self, left: CompressorsLeft) {
        self.compressors.take_over(left);
    }

    /// A process ended, by itself with code 0 or not. Says whether it compressed something.
    pub(crate) fn compressor_ended(&mut self, pid: i32, well: bool) -> bool {
        self.compressors.ended(pid, well)
    }

    /// The processes that compress something.
    pub(crate) fn compressing(&self) -> impl Iterator<Item = i32> {
        self.compressors.pids()
    }

    /// Opens all files again: somebody else may have moved them.
    pub(crate) fn reopen_all(&mut self) {
        let logs: Vec<SharedLog> = self.files.values().filter_map(Weak::upgrade).collect();
        for log in logs {
            log.borrow_mut().reopen();
            self.look_after(&log);
        }
    }

    /// Truncates the files of a plan, and removes rotated ones. Whoever writes to them writes on.
    ///
    /// # Errors
    /// What could not be cleared, and why.
    pub(crate) fn clear(&mut self, plan: &Plan) -> Result<(), String> {
        for path in &plan.files {
            let log = self.file(path, plan.rotation);
            let done = log.borrow_mut().clear();
            done.map_err(|e| format!("{} cannot be cleared: {e}", path.display()))?;
        }
        Ok(())
    }

    /// The file of a path, shared by all that write to it. The rotation is that of whoever asked
    /// last.
    pub(super) fn file(&mut self, path: &Path, rotation: Rotation) -> SharedLog {
        if self.files.len() >= self.look_through_at {
            self.files.retain(|_, log| log.strong_count() > 0);
            self.look_through_at = (2 * self.files.len()).max(FILES_LOOKED_THROUGH_MIN);
        }
        let key = self.normal(path);
        if let Some(log) = self.files.get(&key).and_then(Weak::upgrade) {
            log.borrow_mut().set_rotation(rotation);
            return log;
        }
        let log = Rc::new(RefCell::new(LogFile::open(path.to_owned(), rotation)));
        self.files.insert(key, Rc::downgrade(&log));
        self.look_after(&log);
        log
    }

    /// What follows a write: a rotated file is compressed. Says whether it was rotated.
    pub(super) fn look_after(&mut self, log: &SharedLog) -> bool {
        self.compressors.free_some();
        let mut log = log.borrow_mut();
        if let Some(trouble) = log.take_trouble() {
            tracing::warn!("{trouble}");
        }
        let rotated = log.take_rotated();
        if rotated && log.rotation().compress {
            self.compressors.want(log.path());
        }
        rotated
    }

    /// One name for a file that has several: its directory may be reached in many ways. A directory
    /// that is not there yet has one name, and so has one that is right beside the others of
    /// instances, and is no link.
    fn normal(&self, path: &Path) -> PathBuf {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            return path.to_owned();
        };
        let beside = parent.file_name().is_some() && parent.parent() == self.instances.as_deref();
        if beside && fs::symlink_metadata(parent).is_ok_and(|found| found.is_dir()) {
            return path.to_owned();
        }
        parent.canonicalize().map_or_else(|_| path.to_owned(), |parent| parent.join(name))
    }

    pub(super) fn syslog(&mut self, messages: &[Vec<u8>], now: BootTime) -> Result<(), Dropped> {
        self.syslog.send(messages, now)
    }

    pub(super) fn stdout(&mut self) -> &Standard {
        self.stdout.get_or_insert_with(Standard::output)
    }

    pub(super) fn stderr(&mut self) -> &Standard {
        self.stderr.get_or_insert_with(Standard::error)
    }

    /// The buffer, until it is given back.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use dsbus_schema::call::Channel;
    use dsbus_schema::program::ProgramSpec;

    use super::*;
    use crate::output::Said;

    #[test]
    fn one_file_is_one_log_by_whatever_name_and_those_that_nobody_writes_to_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let instances = home.path().join("instances");
        fs::create_dir_all(instances.join("a.0")).unwrap();
        std::os::unix::fs::symlink("a.0", instances.join("b.0")).unwrap();
        std::os::unix::fs::symlink(&instances, home.path().join("other")).unwrap();
        let mut outputs = Outputs::default().within(&home.path().canonicalize().unwrap());
        let first = outputs.file(&instances.join("a.0/log"), Rotation::default());
        for name in ["instances/b.0/log", "instances/x/../a.0/log", "other/a.0/log"] {
            fs::create_dir_all(instances.join("x")).unwrap();
            let same = outputs.file(&home.path().join(name), Rotation::default());
            assert!(Rc::ptr_eq(&first, &same), "{name}");
        }
        for number in 0..3 * FILES_LOOKED_THROUGH_MIN {
            outputs.file(&home.path().join(number.to_string()), Rotation::default());
        }
        assert!(outputs.files.len() <= FILES_LOOKED_THROUGH_MIN, "{}", outputs.files.len());
        let same = outputs.file(&instances.join("a.0/log"), Rotation::default());
        assert!(Rc::ptr_eq(&first, &same));
    }

    #[test]
    fn the_workers_own_output_is_a_place_that_may_be_slow() {
        let targets = r#"["/dev/stdout", "/dev/stderr"]"#;
        let stdout_logfile = serde_json::from_str(targets).unwrap();
        let spec = ProgramSpec { stdout_logfile, ..ProgramSpec::default() };
        let settings = Settings::default();
        let auto = Path::new("/no/auto");
        let plan = Plan::of(&spec, Channel::Stdout, auto, "x", &settings, str::to_owned);
        let mut outputs = Outputs::new(&settings);
        let ((mut out, to_out), (mut err, to_err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        outputs.stdout = Some(Standard::of("standard output", Some(to_out.into())));
        outputs.stderr = Some(Standard::of("standard error", Some(to_err.into())));
        let (pipe, mut child) = io::pipe().unwrap();
        let mut outlet = outputs.attach(pipe, plan).unwrap();
        let mut said = Vec::new();
        child.write_all(b"hello").unwrap();
        outlet.read(&mut outputs, &mut said);
        let mut heard = [0; 5];
        for pipe in [&mut out, &mut err] {
            pipe.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        }
        // One reader goes on, and the other is gone.
        drop(err);
        child.write_all(b"again").unwrap();
        outlet.read(&mut outputs, &mut said);
        out.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"again");
        assert!(matches!(said.as_slice(), [Said::Lost(why)] if why.contains("standard error")));
        // And now nobody reads.
        let chunk = vec![b'x'; 60_000];
        while said.len() < 2 {
            child.write_all(&chunk).unwrap();
            outlet.read(&mut outputs, &mut said);
        }
        assert!(matches!(&said[1], Said::Lost(why) if why.contains("too slow")), "{said:?}");
        assert!(outlet.last_line().is_some_and(|line| line.starts_with("xxx")));
    }
}
