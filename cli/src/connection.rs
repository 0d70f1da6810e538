//! A verb's connection: the bus, and how its errors are told.

mod denied;

use std::future::Future;

use dsbus_client::{Bus, Error};
use dsbus_schema::command::{ANSWER_BYTES_MAX, Ask, Verb, code};
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::status::InstanceRow;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::settings::Origin;
use crate::{role, who};

/// What to do where a server asks who one is.
const WHO: &str = "say who you are: --creds, --nkey, --context, or NATS_USER and NATS_PASSWORD \
                   beside NATS_URL";

/// A connected verb.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The bus.
    pub(crate) bus: Bus,
    config: Config,
}

impl Connection {
    /// Connects, or gives up soon.
    ///
    /// # Errors
    /// When no server answers, or it is too old.
    pub(crate) async fn open(config: &Config) -> Result<Connection, Failure> {
        let refused = match Bus::connect(config.connect("dsbus", false)).await {
            Ok(bus) => return Ok(Connection { bus, config: config.clone() }),
            Err(e) => e,
        };
        if !wants_to_know_who(&refused) || config.says_who() {
            return Err(unreachable_bus(config, refused));
        }
        // As supervisorctl does: a person who has not said who he is, is asked.
        let Some(credentials) = who::ask(&config.shown())? else {
            return Err(unreachable_bus(config, refused));
        };
        let mut config = config.clone();
        config.settled.access.credentials = credentials;
        match Bus::connect(config.connect("dsbus", false)).await {
            Ok(bus) => Ok(Connection { bus, config }),
            Err(e) => Err(unreachable_bus(&config, e)),
        }
    }

    /// What holds, and who it is, if that was asked: for further connections.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Sends a command, and has its failure in words.
    ///
    /// # Errors
    /// When it was refused, or nobody answered.
    pub(crate) async fn command<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        verb: Verb,
        request: &Q,
    ) -> Result<A, Failure> {
        match self.bus.command(verb, request).await {
            Ok(answer) => Ok(answer),
            Err(e) => Err(self.explain(e).await),
        }
    }

    /// The last known states of what `names` mean; of everything when there are none.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub(crate) async fn status(&self, names: &[Target]) -> Result<Vec<InstanceRow>, Failure> {
        match self.bus.status(names).await {
            Ok(rows) => Ok(rows),
            Err(e) => Err(self.explain(e).await),
        }
    }

    /// Every row of an answer that comes in parts; `last` is where the next part begins.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub(crate) async fn all<T: DeserializeOwned + Serialize>(
        &self,
        verb: Verb,
        names: &[Target],
        last: impl Fn(&T) -> InstanceId,
    ) -> Result<Vec<T>, Failure> {
        let mut ask = Ask { names: names.to_vec(), ..Ask::default() };
        let mut rows: Vec<T> = Vec::new();
        loop {
            let part: Vec<T> = self.command(verb, &ask).await?;
            // Parts are ended by a row of less than half of one; a smaller part is the last.
            let bytes = serde_json::to_vec(&part).map_or(0, |part| part.len());
            rows.extend(part);
            ask.after = rows.last().map(&last);
            if bytes < ANSWER_BYTES_MAX / 2 {
                return Ok(rows);
            }
        }
    }

    /// An error of the client in words, with what to do about it.
    pub(crate) async fn explain(&self, e: Error) -> Failure {
        let fleet = self.fleet();
        match e {
            Error::Refused { code: code::UNAVAILABLE, text, .. } => {
                Failure::new(Code::Unreachable, text)
            }
            Error::Refused { text, problems, .. } => {
                // The text says the same in one sentence.
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Failure::failed(if lines.is_empty() { text } else { lines.join("\n       ") })
            }
            Error::NoScheduler | Error::NoResponders => self.nobody(&fleet).await,
            Error::Timeout => Failure::new(
                Code::Unreachable,
                format!("the schedulers of the {fleet} at {} did not answer", self.config.shown()),
            )
            .hint("they may be stopped, or cut off from the bus; any one that lives is enough"),
            Error::Disconnected => Failure::new(
                Code::Unreachable,
                format!("the connection to {} was lost", self.config.shown()),
            ),
            Error::Denied { what } => {
                let (user, fleet) = (&self.config.user, &self.config.fleet);
                let said = denied::words(user.as_str(), fleet, &what);
                Failure::failed(said).hint(denied::HINT)
            }
            other => Failure::failed(other.to_string()),
        }
    }

    /// Refuses a bus on which no fleet ever was.
    ///
    /// # Errors
    /// When the fleet's buckets do not exist, or cannot be asked for.
    pub(crate) async fn must_be_provisioned(&self) -> Result<(), Failure> {
        match self.bus.provisioned().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.no_fleet()),
            Err(e) => Err(self.explain(e).await),
        }
    }

    async fn nobody(&self, fleet: &str) -> Failure {
        if let Ok(false) = self.bus.provisioned().await {
            return self.no_fleet();
        }
        let said = format!("no scheduler of the {fleet} answers at {}", self.config.shown());
        Failure::new(Code::Unreachable, said).hint(format!(
            "start one, on any machine that reaches the bus: {}",
            role::start(&self.config, "scheduler")
        ))
    }

    /// Where the bus is, for people.
    pub(crate) fn shown(&self) -> String {
        self.config.shown()
    }

    /// Said of a bus on which no fleet ever was.
    pub(crate) fn no_fleet(&self) -> Failure {
        let (url, origin) = (self.config.shown(), &self.config.origin);
        let said = format!("there is no {} on the bus at {url} ({origin})", self.fleet());
        let start = format!(
            "start one: {}, and {}",
            role::start(&self.config, "scheduler"),
            role::start(&self.config, "worker")
        );
        Failure::new(Code::Unreachable, said).hint(start)
    }

    fn fleet(&self) -> String {
        if self.config.fleet.is_default() {
            "dsbus fleet".to_owned()
        } else {
            format!("dsbus fleet {:?}", self.config.fleet.as_str())
        }
    }
}

/// Whether a server does not know who asks.
fn wants_to_know_who(e: &Error) -> bool {
    matches!(e, Error::NoBus { why, .. } if why.contains("authorization"))
}

fn unreachable_bus(config: &Config, e: Error) -> Failure {
    let (url, origin) = (config.shown(), &config.origin);
    let hint = match origin {
        Origin::Dev(_) => "dsbus dev wrote that address, and seems to be gone: start dsbus dev",
        Origin::Flag(_)
        | Origin::Variable(_)
        | Origin::Parent
        | Origin::File(..)
        | Origin::Context(..)
        | Origin::Selected(_) => {
            "is the address right, and does a NATS server listen there? dsbus config shows what holds"
        }
        Origin::Default => {
            "start a private fleet here with dsbus dev, or name a bus: --nats URL or NATS_URL"
        }
    };
    let hint = config.unused().unwrap_or_else(|| hint.to_owned());
    match e {
        Error::NoBus { ref why, .. } => {
            let hint = if config.unused().is_none() && wants_to_know_who(&e) {
                WHO.to_owned()
            } else {
                hint
            };
            let said = format!("cannot reach the bus at {url} ({origin}): {why}");
            Failure::new(Code::Unreachable, said).hint(hint)
        }
        other => {
            let hint = if matches!(other, Error::ServerTooOld { .. }) {
                "install a newer one: https://nats.io/download"
            } else {
                "dsbus config shows the settings that hold, and where each is said"
            };
            let said = format!("cannot use the bus at {url} ({origin}): {other}");
            Failure::new(Code::Unreachable, said).hint(hint)
        }
    }
}

/// Runs a verb to its end.
///
/// # Errors
/// Its own; or when the runtime cannot be built.
pub(crate) fn run<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime?.block_on(verb)
}
