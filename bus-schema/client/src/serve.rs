//! Answering: the schedulers' and the workers' micro services.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Service, ServiceExt};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::{HEADER_NEXT, Refused, Verb, code};
use dsbus_schema::ids::{UserName, WorkerName};
use dsbus_schema::program::Problem;
use dsbus_schema::stats::{SCHEDULER_ENDPOINT, WORKER_ENDPOINT};
use dsbus_schema::{subject, version};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::{Bus, Error};

/// Requests that are worked on at once; more wait.
const REQUESTS_MAX: usize = 256;
/// How long [`Served::stop`] waits for requests that are being worked on.
const STOP_MAX: Duration = Duration::from_secs(1);

/// A command.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who sent it, as its subject says: permissions pin it.
    pub user: UserName,
    /// What to do.
    pub verb: Verb,
    /// JSON; `{}` when it came empty.
    pub body: Bytes,
}

impl Request {
    /// Refuses one of another version. Whoever handles commands asks this first, and may keep a record
    /// of what is refused.
    ///
    /// # Errors
    /// When the body names a version that is not understood.
    pub fn understood(&self) -> Result<(), Refusal> {
        versioned(&self.body)
    }
}

/// A call to a worker.
#[derive(Debug, Clone)]
pub struct WorkerRequest {
    /// What to do.
    pub verb: WorkerVerb,
    /// JSON; `{}` when it came empty.
    pub body: Bytes,
}

/// No.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`code`]; 0 sends no answer at all.
    pub code: u16,
    /// Why, in one sentence.
    pub text: String,
    /// What is wrong with single keys of what was sent.
    pub problems: Vec<Problem>,
}

impl Refusal {
    /// A refusal without problems of single keys.
    pub fn new(code: u16, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), problems: Vec::new() }
    }

    /// Sends no answer at all: for a worker whose supervisor does not answer.
    pub fn silent() -> Refusal {
        Refusal::new(0, "")
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// JSON.
    pub body: Bytes,
    /// More rows follow: the `after` of whoever asks for them.
    pub next: Option<String>,
}

impl<B: Into<Bytes>> From<B> for Answer {
    fn from(body: B) -> Answer {
        Answer { body: body.into(), next: None }
    }
}

/// A running service; dropping it ends it.
#[derive(Debug)]
pub struct Served {
    /// Dropping this ends the loop.
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    /// Takes no more requests, and waits up to 1 s for those that are being worked on. One that
    /// NATS hands over at this very moment is not answered: a command is then asked of all.
    pub async fn stop(self) {
        drop(self.end);
        // It ends by itself; if it panicked, it has ended as well.
        drop(self.serving.await);
    }
}

/// One request, and how to answer it.
struct Asked {
    subject: String,
    body: Bytes,
    way: Way,
}

enum Way {
    Endpoint(async_nats::service::Request),
    Plain(Client, Subject),
    /// Whoever sent it wants no answer.
    Nowhere,
}

type Handler =
    Arc<dyn Fn(&str, Bytes) -> BoxFuture<'static, Result<Answer, Refusal>> + Send + Sync>;

impl Bus {
    /// Answers commands, together with every other scheduler: each command reaches one of them,
    /// and one that was not answered reaches all. `id` names this scheduler in `$SRV.PING`; `stats` is
    /// called for each `$SRV.STATS`, and gives what [`SCHEDULER_ENDPOINT`] tells there. Answers are JSON.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the connection is closed for good.
    pub async fn serve_commands<H, F, A>(
        &self,
        id: &str,
        stats: impl Fn() -> Value + Send + Sync + 'static,
        h: H,
    ) -> Result<Served, Error>
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<A, Refusal>> + Send + 'static,
        A: Into<Answer>,
    {
        let service = self.service(subject::SERVICE, id, (SCHEDULER_ENDPOINT, stats)).await?;
        let verbs =
            Verb::ALL.map(|verb| (verb.name(), subject::command_any_user(self.fleet(), verb)));
        let mut asked = endpoints(&service, &verbs).await?;
        let all = self.client().subscribe(subject::command_all_any_user(self.fleet())).await;
        let client = self.client().clone();
        asked.push(
            all.map_err(|_| Error::Disconnected)?
                .map(move |m| Asked {
                    subject: m.subject.to_string(),
                    body: m.payload,
                    way: m.reply.map_or(Way::Nowhere, |to| Way::Plain(client.clone(), to)),
                })
                .boxed(),
        );
        let handler: Handler =
            Arc::new(move |subject, body| match subject::parse_command(subject) {
                Some((user, verb)) => {
                    h(Request { user, verb, body }).map(|answer| answer.map(Into::into)).boxed()
                }
                None => {
                    let text = format!("{subject} names no command of this dsbus");
                    async { Err(Refusal::new(code::BAD_REQUEST, text)) }.boxed()
                }
            });
        Ok(start(service, asked, handler))
    }

    /// Answers calls to worker `w`: those of [`WorkerVerb::ALWAYS`]. For others see
    /// [`Bus::take_calls`]. `stats` is as that of [`Bus::serve_commands`], for [`WORKER_ENDPOINT`].
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the connection is closed for good.
    pub async fn serve_worker<H, F>(
        &self,
        w: &WorkerName,
        stats: impl Fn() -> Value + Send + Sync + 'static,
        h: H,
    ) -> Result<Served, Error>
    where
        H: Fn(WorkerRequest) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Value, Refusal>> + Send + 'static,
    {
        let service =
            self.service(subject::SERVICE_WORKER, w.as_str(), (WORKER_ENDPOINT, stats)).await?;
        let verbs =
            WorkerVerb::ALWAYS.map(|verb| (verb.name(), subject::worker(self.fleet(), w, verb)));
        let asked = endpoints(&service, &verbs).await?;
        let known = verbs.map(|(_, subject)| subject);
        let handler: Handler = Arc::new(move |subject, body| {
            let verb = known.iter().zip(WorkerVerb::ALWAYS).find(|(known, _)| *known == subject);
            if let Err(refusal) = versioned(&body) {
                return async { Err(refusal) }.boxed();
            }
            match verb {
                Some((_, verb)) => {
                    let answer = h(WorkerRequest { verb, body });
                    answer.map(|answer| answer.map(|value| value.to_string().into())).boxed()
                }
                None => async { Err(Refusal::silent()) }.boxed(),
            }
        });
        Ok(start(service, asked, handler))
    }

    async fn service(
        &self,
        name: &str,
        id: &str,
        (endpoint, stats): (&'static str, impl Fn() -> Value + Send + Sync + 'static),
    ) -> Result<Service, Error> {
        let metadata = HashMap::from([
            ("id".to_owned(), id.to_owned()),
            ("fleet".to_owned(), self.fleet().to_string()),
        ]);
        // Each endpoint may tell something of its own; ours tell of the whole process, once.
        let told = move |of: String, _| if of == endpoint { stats() } else { Value::Null };
        let builder = self.client().service_builder().metadata(metadata);
        let builder = builder.queue_group(subject::QUEUE).stats_handler(told);
        let started = builder.start(name, env!("CARGO_PKG_VERSION")).await;
        started.map_err(|e| Error::malformed(name, e))
    }
}

async fn endpoints(
    service: &Service,
    verbs: &[(&str, String)],
) -> Result<SelectAll<BoxStream<'static, Asked>>, Error> {
    let mut asked = SelectAll::new();
    for (name, subject) in verbs {
        let endpoint = service.endpoint_builder().name(*name).add(subject).await;
        let endpoint = endpoint.map_err(|e| Error::malformed(subject, e))?;
        let requests = endpoint.map(|request| Asked {
            subject: request.message.subject.to_string(),
            body: request.message.payload.clone(),
            way: Way::Endpoint(request),
        });
        asked.push(requests.boxed());
    }
    Ok(asked)
}

fn start(
    service: Service,
    mut asked: SelectAll<BoxStream<'static, Asked>>,
    handler: Handler,
) -> Served {
    let (end, mut ended) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut working = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
            let request = tokio::select! {
                _ = &mut ended => break,
                request = asked.next() => request,
            };
            let Some(request) = request else { break };
            while working.try_join_next().is_some() {}
            let handler = Arc::clone(&handler);
            working.spawn(async move {
                serve_one(request, &handler).await;
                drop(place);
            });
        }
        // Ends the subscriptions first, so that nobody waits for an answer that never comes.
        drop(asked);
        drop(service.stop().await);
        let all = async { while working.join_next().await.is_some() {} };
        drop(tokio::time::timeout(STOP_MAX, all).await);
    });
    Served { end, serving }
}

/// Refuses what is of another version. A body that cannot be read at all is for the handler to refuse:
/// it knows what it wants.
fn versioned(body: &[u8]) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<u32>,
    }
    let named = serde_json::from_slice::<Versioned>(body).ok().and_then(|v| v.version);
    version::check(named).map_err(|text| Refusal::new(code::BAD_REQUEST, text))
}

/// Whether an answer may go there. Who asks chooses where to, and the answer is sent by our right: what
/// the bus itself, or dsbus, listens to is never answered.
pub(crate) fn is_inbox(reply: &str) -> bool {
    !reply.starts_with('$') && subject::parse_fleet(reply).is_none()
}

async fn serve_one(mut asked: Asked, handler: &Handler) {
    // Answers of the server, which anybody can aim at any subject, want no answer themselves.
    let Some(reply) = asked.way.reply() else {
        tracing::warn!(subject = asked.subject, "what wants no answer is no request: ignored");
        return;
    };
    if !is_inbox(reply) {
        tracing::warn!(subject = asked.subject, reply, "a request with a forged reply is ignored");
        return;
    }
    if asked.body.is_empty() {
        asked.body = Bytes::from_static(b"{}");
    }
    let (body, headers) = match handler(&asked.subject, asked.body).await {
        Ok(Answer { body, next }) => {
            let mut headers = HeaderMap::new();
            if let Some(next) = next {
                headers.insert(HEADER_NEXT, next);
            }
            (body, headers)
        }
        Err(refusal) if refusal.code == 0 => return,
        Err(refusal) => written(refusal),
    };
    if let Err(why) = asked.way.send(body, headers).await {
        tracing::warn!(subject = asked.subject, "the answer could not be sent: {why}");
        let (body, headers) = written(Refusal::new(code::UNAVAILABLE, why));
        // If not even this can be sent, the one who asked will time out.
        drop(asked.way.send(body, headers).await);
    }
}

pub(crate) fn written(refusal: Refusal) -> (Bytes, HeaderMap) {
    // A header holds one line.
    let line = refusal.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR, line.as_str());
    headers.insert(NATS_SERVICE_ERROR_CODE, refusal.code.to_string());
    let Refusal { code, text: error, problems } = refusal;
    let body = serde_json::to_vec(&Refused { code, error, problems }).unwrap_or_default();
    (body.into(), headers)
}

impl Way {
    fn reply(&self) -> Option<&str> {
        match self {
            Way::Endpoint(request) => request.message.reply.as_deref(),
            Way::Plain(_, to) => Some(to),
            Way::Nowhere => None,
        }
    }

    async fn send(&self, body: Bytes, headers: HeaderMap) -> Result<(), String> {
        match self {
            Way::Endpoint(request) if request.message.reply.is_some() => {
                request.respond_with_headers(Ok(body), headers).await
            }
            Way::Plain(client, to) => client.publish_with_headers(to.clone(), headers, body).await,
            Way::Endpoint(_) | Way::Nowhere => Ok(()),
        }
        .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::is_inbox;
    use dsbus_schema::ids::{FleetName, UserName};
    use dsbus_schema::storage::Bucket;
    use dsbus_schema::{command::Verb, subject};

    #[test]
    fn answers_go_to_inboxes_and_to_nothing_that_dsbus_hears() {
        let (fleet, ann) = (FleetName::default(), UserName::parse("ann").unwrap());
        for forged in [
            Bucket::Programs.subject(&fleet, "web"),
            subject::command(&fleet, &ann, Verb::Stop),
            subject::events(&fleet).replace('>', "w1.x"),
            "$JS.API.STREAM.PURGE.x".to_owned(),
        ] {
            assert!(!is_inbox(&forged), "{forged}");
        }
        for inbox in ["_INBOX.x.1", "_INBOX.operator.ann.x", "_R_.x", "ann.answers.1"] {
            assert!(is_inbox(inbox), "{inbox}");
        }
    }
}
