//! The one way to speak on the dsbus bus. No other crate knows NATS.
//!
//! What NATS and its Rust client do not do, and this crate therefore does: nothing is queued while
//! disconnected, a denied publish is an error of its call, both error codes of a lost
//! compare-and-set are one, and a [`Watch`] survives the death of a stream's leader.

mod access;
mod ack;
mod calls;
mod connect;
mod consumer;
mod durable;
mod entry;
mod error;
mod events;
mod health;
mod limited;
mod live;
mod meter;
pub mod output;
mod past;
mod places;
mod provision;
pub mod reach;
mod request;
mod serve;
mod server;
mod signing;
mod stats;
mod storage;
mod stream;
mod tail;
mod trouble;
mod usage;
mod watch;
mod wire;

pub use access::{Access, Credentials, Secret, Tls};
pub use ack::{NO_PEERS, STORING_ALREADY};
pub use calls::{Call, Calls};
pub use connect::{Bus, ConnectOptions};
pub use durable::{ACK_WAIT, Begin, Durable, DurableOptions, Heard, STAND_BY, Share};
pub use entry::{Entry, Seal, Value};
pub use error::Error;
pub use events::EventFeed;
pub use health::{Account, Permissions, Server, ServiceInfo, Stream, Subjects, User};
pub use limited::read_limited_text;
pub use live::{Live, News};
pub use meter::Meter;
pub use past::{EventReader, Kept};
pub use places::Place;
pub use serve::{Answer, Refusal, Request, Served, WorkerRequest};
pub use signing::{Distrust, Signer, Signers};
pub use stats::Stats;
pub use storage::{BATCH_WRITES_MAX, Expect, Write};
pub use usage::{Samples, UsageAsks, Used};
pub use watch::{From, Item, WATCH_QUEUE_MAX, Watch};
