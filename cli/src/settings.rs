//! What verbs and daemons go by, and where each of it is said: options, the environment, files, a
//! context of the `nats` tool. The nearest word wins; `docs/settings.md` tells it to people.
//!
//! One thing is no matter of the nearest word. Credentials go only to the bus that was named beside
//! them, or where they were named anew since: whoever says `--nats` does not send the password of
//! another bus there.

pub(crate) mod context;
pub(crate) mod file;
pub(crate) mod key;
pub(crate) mod layer;
pub(crate) mod origin;
pub(crate) mod resolve;
mod slips;

#[cfg(test)]
mod tests;

use crate::config::Surroundings;
use crate::failure::Failure;
use crate::file::Diagnostic;
pub(crate) use key::{Color, Key};
pub(crate) use layer::Layer;
pub(crate) use origin::Origin;
pub(crate) use resolve::Settled;
pub(crate) use slips::slips;

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// What is wrong with a file.
    File(Vec<Diagnostic>),
    /// Something else.
    Other(Failure),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        Wrong::Other(failure)
    }
}

/// Looks everywhere, and settles what holds. `given` are the options.
///
/// # Errors
/// When a file has a mistake, or something said cannot be.
pub(crate) fn settle(given: Layer, around: &Surroundings) -> Result<Settled, Wrong> {
    let mut layers = vec![given];
    match layer::of_parent(around) {
        // Who started this process has settled it, and what it looks at may have changed since.
        Some(parent) => layers.push(parent),
        None => {
            layers.extend([layer::of_dsbus(around), layer::of_nats(around)]);
            layers.extend(file::all(around)?);
        }
    }
    resolve::resolve(&layers, around).map_err(Wrong::Other)
}
