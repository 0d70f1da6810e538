//! Following what instances print, from worker to worker: [`Reader`] reads one of them, and is told
//! where that is by whoever knows ([`Stay`]).

mod asking;
mod course;
mod lines;
mod reader;

pub use asking::Asking;
pub use course::{Course, Stay};
pub use lines::Lines;
pub use reader::{Noted, Reader};

/// Stays that a reader has not taken note of yet. It always does at once.
pub const STAYS_MAX: usize = 64;

/// A piece of what is to be shown.
#[derive(Debug)]
pub enum Piece {
    /// As it is.
    Output(Vec<u8>),
    /// Something about it.
    Note(String),
}
