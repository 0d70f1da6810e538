//! Runs event listeners of Supervisor's kind (its manual, "Events"), unmodified, on the events of a
//! fleet. A listener is a process that says `READY` on standard output, reads an event on standard
//! input, and answers `RESULT 2\nOK`; only then is the event acknowledged on the bus.
//!
//! What is said is decided by pure code: [`render`] makes Supervisor's events of the fleet's,
//! [`frame`] makes bytes of them, [`protocol`] understands one listener, and [`pool`] gives each
//! event to one of several.

mod appetite;
mod bus;
pub mod frame;
pub mod pool;
mod process;
pub mod protocol;
pub mod render;
mod run;
mod source;
mod subscription;

pub use bus::BusSource;
pub use process::Program;
pub use run::{Control, End, Options, run};
pub use source::{Incoming, Source};
pub use subscription::Subscription;
