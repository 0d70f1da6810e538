//! House rules as functions: each takes the tree and gives back what breaks it, in words that say
//! what to do. `tests/tidy.rs` runs one test per rule on the real tree; the unit tests beside each
//! rule show that it can fail.

pub mod documents;
pub mod generated;
pub mod manifests;
pub mod python;
pub mod source;
pub mod tree;
