//! A child's output: out of a pipe, and wherever its declaration wants it.

mod ansi;
mod capture;
mod compress;
mod doomed;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod loss;
mod outlet;
mod pieces;
pub(crate) mod place;
mod plan;
mod registry;
mod rotation;
mod standard;
mod syslog;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use compress::CompressorsLeft;
pub use file::LogFile;
pub(crate) use outlet::{Outlet, OutletLeft};
pub(crate) use plan::Plan;
pub(crate) use registry::Outputs;
pub use rotation::Rotation;

/// What the world is told of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It was logged, of a child whose output becomes events.
    Log(Vec<u8>),
    /// It stood between the marks of capture mode.
    Communication(Vec<u8>),
    /// Output is lost, and why.
    Lost(String),
    /// Output is written again; so many bytes were lost.
    WrittenAgain(u64),
}
