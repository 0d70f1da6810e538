//! What is said on the dsbus bus, as data: identities, declarations, placements, touches, states,
//! events, commands, and the names of the subjects, buckets and streams they travel on.
//!
//! Nothing here does I/O or reads a clock. Only this crate's types are serialized onto the bus.

pub mod alert;
pub mod call;
pub mod command;
pub mod event;
pub mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod generate;
pub mod goal;
pub mod ids;
pub mod lenient;
pub mod moment;
pub mod permit;
pub mod placement;
pub mod program;
pub mod reading;
pub mod rollout;
pub mod secret;
pub mod signature;
pub mod state;
pub mod stats;
pub mod status;
pub mod storage;
pub mod subject;
pub mod touch;
pub mod version;
pub mod worker;
pub mod worker_goal;
