//! Simulated workers, as many as are wanted, each with a connection of its own; all in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::{Bus, Item, Value, Watch};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, parse_instance_key};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::{Moment, now};
use crate::markers::options;
use crate::{Outcome, member};

/// So many join at once: a fleet that is switched on does not join in one millisecond.
const JOIN_AT_ONCE: usize = 50;
/// More than joining takes.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// Simulated workers; all of them end with the value.
#[derive(Debug)]
pub(crate) struct Crew {
    url: String,
    members: BTreeMap<WorkerName, JoinHandle<()>>,
    runtime: Runtime,
}

impl Crew {
    /// Nobody yet.
    pub(crate) fn new(url: &str) -> Outcome<Crew> {
        // Each has a connection.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        // As an agent does, once for all of them: the scheduler may have just started.
        runtime.block_on(async {
            let bus = Bus::connect(options(url, "bench-crew")).await?;
            bus.provision(None).await
        })?;
        Ok(Crew { url: url.to_owned(), members: BTreeMap::new(), runtime })
    }

    /// So many in all have joined when it returns.
    pub(crate) fn grow_to(&mut self, size: usize) -> Outcome<()> {
        while self.members.len() < size {
            let mut joining = Vec::new();
            for _ in 0..JOIN_AT_ONCE.min(size - self.members.len()) {
                let name = WorkerName::parse(&format!("m{:04}", self.members.len()))?;
                let (ready, joined) = oneshot::channel();
                let living = member::live(self.url.clone(), name.clone(), ready);
                let (url, who) = (self.url.clone(), name.clone());
                let task = self.runtime.spawn(async move {
                    if let Err(why) = living.await {
                        complain(&who, &url, &why);
                    }
                });
                self.members.insert(name, task);
                joining.push(joined);
            }
            let (all, mut left) = (joining.len(), joining.len());
            let joined = async {
                for joined in joining {
                    joined.await.map_err(|_| "a simulated worker could not join".to_owned())?;
                    left -= 1;
                }
                Ok::<_, String>(())
            };
            let joined = async { tokio::time::timeout(JOIN_MAX, joined).await };
            let joined = self.runtime.block_on(joined);
            let late = format!("{left} of {all} did not join within {JOIN_MAX:?}");
            joined.map_err(|_| format!("{late}, beside {}", self.members.len() - all))??;
        }
        Ok(())
    }

    /// It is gone, connection and all.
    pub(crate) fn lose(&mut self, name: &str) -> Outcome<()> {
        let gone = self.members.remove(&WorkerName::parse(name)?).ok_or("no such worker")?;
        gone.abort();
        Ok(())
    }

    /// How many have ended by themselves, which none should.
    pub(crate) fn failed(&self) -> usize {
        self.members.values().filter(|member| member.is_finished()).count()
    }

    /// Watches what is told of instances, from now on.
    pub(crate) fn watch(&self) -> Outcome<Told> {
        let bus = self.runtime.block_on(Bus::connect(options(&self.url, "bench-told")))?;
        let entered = self.runtime.enter();
        let watch = bus.watch(Bucket::Status, ">", "bench-told");
        drop(entered);
        Ok(Told { watch, running: BTreeMap::new() })
    }

    /// Waits until so many instances are told to be RUNNING, and `also`; when the last was heard.
    pub(crate) fn all_running(
        &self,
        told: &mut Told,
        (count, within): (usize, Duration),
        also: impl Fn(&Told) -> bool,
    ) -> Outcome<Moment> {
        let hear = async {
            while told.running.len() < count || !also(told) {
                let item = told.watch.next().await;
                told.hear(item);
            }
            now()
        };
        let heard = self.runtime.block_on(async { tokio::time::timeout(within, hear).await });
        let left = told.running.len();
        heard.map_err(|_| format!("{left} of {count} RUNNING after {within:?}").into())
    }
}

#[expect(clippy::print_stderr, reason = "a bench tells its reader what went wrong")]
fn complain(who: &WorkerName, url: &str, why: &dsbus_client::Error) {
    eprintln!("simulated worker {who} on {url} ended: {why}");
}

/// What is told of instances: which run, and where.
#[derive(Debug)]
pub(crate) struct Told {
    watch: Watch,
    running: BTreeMap<InstanceId, WorkerName>,
}

impl Told {
    fn hear(&mut self, item: Item) {
        let Item::Entry(entry) = item else { return };
        let Some((worker, name)) = parse_instance_key(&entry.key) else { return };
        let status = match &entry.value {
            Value::Put(_) => entry.json::<Status>().ok().flatten(),
            Value::Deleted | Value::Expired | Value::Copied => None,
        };
        if status.is_some_and(|status| status.state == State::Running) {
            self.running.insert(name, worker);
        } else if self.running.get(&name) == Some(&worker) {
            self.running.remove(&name);
        }
    }

    /// How many run on this worker.
    pub(crate) fn on(&self, worker: &str) -> usize {
        self.running.values().filter(|on| on.as_str() == worker).count()
    }
}
