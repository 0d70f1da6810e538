//! Real children under a real supervisor, whose agent is played by the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod children;
mod fencing;
mod output;
mod stage;
mod stopping;
