//! A channel at a change of the worker's version: what was not written yet is still in the pipe, and
//! what was read and is held back goes along.

use std::io::PipeReader;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use super::super::ansi::Strip;
use super::super::capture::Capture;
use super::super::loss::Loss;
use super::super::pieces::Pieces;
use super::super::syslog::Lines;
use super::super::tail::Tail;
use super::super::{Outputs, Plan};
use super::Outlet;
use crate::handover::{Passing, Taking};

/// A channel, as it is left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OutletLeft {
    pipe: Option<RawFd>,
    plan: Plan,
    /// Of each file of the plan.
    files: Vec<Loss>,
    stdout: Loss,
    stderr: Loss,
    syslog: Loss,
    strip: Option<Strip>,
    capture: Option<Capture>,
    lines: Option<Lines>,
    pieces: Pieces,
    tail: Tail,
    full_turns: u32,
}

impl Outlet {
    pub(crate) fn hand_over(&self, passing: &mut Passing) -> OutletLeft {
        OutletLeft {
            pipe: self.pipe.as_ref().map(|pipe| passing.pass(pipe)),
            plan: self.plan.clone(),
            files: self.files.iter().map(|(_, loss)| loss.clone()).collect(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            syslog: self.syslog.clone(),
            strip: self.strip.clone(),
            capture: self.capture.clone(),
            lines: self.lines.clone(),
            pieces: self.pieces.clone(),
            tail: self.tail.clone(),
            full_turns: self.full_turns,
        }
    }

    pub(crate) fn take_over(
        left: OutletLeft,
        outputs: &mut Outputs,
        taking: &mut Taking,
    ) -> Result<Outlet, String> {
        let pipe = left.pipe.map(|pipe| taking.take(pipe)).transpose()?.map(PipeReader::from);
        let mut outlet = Outlet {
            pipe,
            plan: left.plan,
            files: Vec::new(),
            stdout: left.stdout,
            stderr: left.stderr,
            syslog: left.syslog,
            strip: left.strip,
            capture: left.capture,
            lines: left.lines,
            pieces: left.pieces,
            tail: left.tail,
            full_turns: left.full_turns,
        };
        outlet.prepare(outputs, &mut Vec::new());
        for ((_, loss), left) in outlet.files.iter_mut().zip(left.files) {
            *loss = left;
        }
        Ok(outlet)
    }
}
