//! What the witness writes, and the judge reads.

pub mod beat;
