//! What a listener listens to, and under which name.

use std::num::NonZeroU16;

use dsbus_client::{Access, Begin, ConnectOptions, DurableOptions, Share};
use dsbus_schema::filter::Filter;
use dsbus_schema::ids::{FleetName, UserName};

use crate::Error;

/// The bus, where the environment names none.
const URL: &str = "nats://127.0.0.1:4222";
/// Events that wait here for their turn: enough to hide the way to the server and back.
const WINDOW: NonZeroU16 = NonZeroU16::new(256).expect("not zero");

/// What a listener listens to, and under which name.
#[derive(Debug, Clone)]
pub struct Options {
    name: String,
    urls: Vec<String>,
    access: Access,
    fleet: FleetName,
    filter: Filter,
    begin: Begin,
}

impl Options {
    /// Everything that happens from now on but ticks, under `name` (1 to 64 of `[A-Za-z0-9_-]`).
    /// The bus and the fleet are those of the environment: `NATS_URL` (`nats://127.0.0.1:4222`) and
    /// `DSBUS_FLEET` (`default`).
    ///
    /// # Errors
    /// When `DSBUS_FLEET` is no name of a fleet.
    pub fn new(name: &str) -> Result<Options, Error> {
        let fleet = variable("DSBUS_FLEET").map_or(Ok(FleetName::default()), |text| {
            FleetName::parse(&text).map_err(|e| wrong("DSBUS_FLEET", e))
        })?;
        let url = variable("NATS_URL").unwrap_or_else(|| URL.to_owned());
        Ok(Options {
            name: name.to_owned(),
            urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
            access: Access::default(),
            fleet,
            filter: Filter::all_but_ticks(),
            begin: Begin::New,
        })
    }

    /// Credentials and TLS; those in the address, unless given.
    #[must_use]
    pub fn access(mut self, access: Access) -> Options {
        self.access = access;
        self
    }

    /// Only these: kinds and TYPEs in words, such as `process.FATAL` or `worker`; `*` is everything.
    ///
    /// # Errors
    /// When a word is no kind and no TYPE.
    pub fn events(self, words: &[&str]) -> Result<Options, Error> {
        let filter = Filter::parse(words, &[], &[]).map_err(|e| wrong("events", e))?;
        Ok(self.only(filter))
    }

    /// Only those that fit `filter`.
    #[must_use]
    pub fn only(mut self, filter: Filter) -> Options {
        self.filter = filter;
        self
    }

    /// Where it begins when it runs under this name for the first time.
    #[must_use]
    pub fn begin(mut self, begin: Begin) -> Options {
        self.begin = begin;
        self
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(crate) fn connect(&self) -> ConnectOptions {
        ConnectOptions {
            urls: self.urls.clone(),
            fleet: self.fleet.clone(),
            user: UserName::default(),
            access: self.access.clone(),
            label: self.name.clone(),
            wait: true,
        }
    }

    pub(crate) fn durable(&self, fleet: &FleetName) -> DurableOptions {
        DurableOptions {
            name: self.name.clone(),
            subjects: self.filter.subjects(fleet),
            begin: self.begin,
            share: Share::One,
            window: WINDOW,
        }
    }
}

/// A variable of the environment that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "a listener of somebody's own has no other configuration"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Options { what: what.to_owned(), why: why.to_string() }
}
