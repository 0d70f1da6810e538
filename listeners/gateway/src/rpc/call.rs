//! Answering a call: who may make it, what its arguments are, and whose it is.

use std::sync::Arc;

use dsbus_schema::ids::WorkerName;
use jiff::tz::TimeZone;

use super::fault::{Faults, Wrong};
use super::methods::{METHODS, method};
use super::request::Request;
use super::value::Value;
use super::view::{Roll, View};
use super::{acts, config, groups, info, logs, stdin};
use crate::fleet::Fleet;
use crate::http::Caller;
use crate::users::Role;
use dsbus_schema::moment::Timestamp;

/// The version of this interface, of all Supervisors since 3.0.
const API_VERSION: &str = "3.0";
/// As which Supervisor this answers.
const VERSION: &str = "4.3.0";
/// Calls in one `system.multicall`: a request holds some thousands, and each waits for those before it.
const CALLS_MAX: usize = 1000;
/// Most bytes of all answers of one `system.multicall`, about; whoever asks for more of what is large
/// asks several times. A log may be read in pieces of 8 MiB, and all processes are a megabyte or more.
const ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What answering needs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    /// The fleet.
    pub(super) fleet: Fleet,
    /// Who asks.
    pub(super) caller: Caller,
    /// Every process.
    pub(super) roll: Arc<Roll>,
    /// Only what is there.
    pub(super) worker: Option<WorkerName>,
}

/// Arguments that were counted.
#[derive(Debug)]
pub(super) struct Params(Vec<Value>);

impl Params {
    /// A text; a number is taken for one, as Python would compare it to none that is there.
    pub(super) fn text(&self, at: usize) -> Result<&str, Wrong> {
        match self.0.get(at) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Faults::IncorrectParameters.bare()),
        }
    }

    /// As Python's `int()` reads it.
    pub(super) fn int(&self, at: usize) -> Result<i64, Wrong> {
        let wrong = || Faults::IncorrectParameters.bare();
        match self.0.get(at) {
            Some(Value::Int(number)) => Ok(*number),
            Some(Value::Bool(value)) => Ok(i64::from(*value)),
            Some(Value::Text(text)) => text.trim().parse().map_err(|_| wrong()),
            #[expect(clippy::cast_possible_truncation, reason = "as Python's int() does")]
            Some(Value::Double(number)) => Ok(*number as i64),
            _ => Err(wrong()),
        }
    }

    /// What it is.
    pub(super) fn at(&self, at: usize) -> &Value {
        self.0.get(at).unwrap_or(&Value::Nil)
    }

    /// Whether to wait, which is so unless it is said otherwise; whatever Python takes for true.
    fn wait(&self, at: usize) -> bool {
        match self.0.get(at) {
            None => true,
            Some(Value::Nil) => false,
            Some(Value::Bool(value)) => *value,
            Some(Value::Int(number)) => *number != 0,
            Some(Value::Double(number)) => *number != 0.0,
            Some(Value::Text(text) | Value::Written(text)) => !text.is_empty(),
            Some(Value::Array(values)) => !values.is_empty(),
            Some(Value::Struct(members)) => !members.is_empty(),
        }
    }
}

impl Desk {
    /// Answers a call.
    ///
    /// # Errors
    /// Supervisor's faults.
    pub(super) async fn call(&self, request: Request) -> Result<Value, Wrong> {
        if request.method == "system.multicall" {
            return self.multicall(request.params).await;
        }
        self.single(request).await
    }

    /// One call after the other. What one has done, the next one sees.
    async fn multicall(&self, params: Vec<Value>) -> Result<Value, Wrong> {
        let Ok([Value::Array(calls)]) = <[Value; 1]>::try_from(params) else {
            return Err(Faults::IncorrectParameters.bare());
        };
        if calls.len() > CALLS_MAX {
            return Err(Faults::IncorrectParameters.about(format!("more than {CALLS_MAX} calls")));
        }
        let (mut results, mut size) = (Vec::with_capacity(calls.len()), 0);
        for call in calls {
            let result = if size < ANSWERS_BYTES_MAX {
                self.of_many(&call).await
            } else {
                let said = format!("the calls before have {ANSWERS_BYTES_MAX} bytes of answers");
                Err(Faults::Failed.about(said))
            };
            let value = result.unwrap_or_else(|wrong| wrong.value());
            size += value.size();
            results.push(value);
            // Many of them need nothing but time.
            tokio::task::yield_now().await;
        }
        Ok(Value::Array(results))
    }

    async fn of_many(&self, call: &Value) -> Result<Value, Wrong> {
        let method = match call.member("methodName") {
            Some(Value::Text(method)) => method.clone(),
            Some(_) => return Err(Faults::IncorrectParameters.bare()),
            None => return Err(Faults::IncorrectParameters.about("No methodName")),
        };
        if method == "system.multicall" {
            let said = "Recursive system.multicall forbidden";
            return Err(Faults::IncorrectParameters.about(said));
        }
        let params = match call.member("params") {
            Some(Value::Array(params)) => params.clone(),
            Some(_) => return Err(Faults::IncorrectParameters.bare()),
            None => Vec::new(),
        };
        self.single(Request { method, params }).await
    }

    async fn single(&self, request: Request) -> Result<Value, Wrong> {
        let Request { method: name, params } = request;
        let method = method(&name).ok_or_else(|| Faults::UnknownMethod.bare())?;
        if !method.takes().contains(&params.len()) {
            return Err(Faults::IncorrectParameters.bare());
        }
        if method.acts && self.caller.role < Role::Operator {
            let said = format!("{} is a viewer, who may look and not act", self.caller.user);
            return Err(Faults::Failed.about(said));
        }
        let params = Params(params);
        match name.split_once('.') {
            Some(("system", of)) => system(of, &params),
            Some((_, of)) => self.supervisor(of, &params).await,
            None => Err(Faults::UnknownMethod.bare()),
        }
    }

    /// What is looked at.
    ///
    /// # Errors
    /// While nothing is known yet.
    pub(super) fn view(&self) -> Result<View, Wrong> {
        if !self.fleet.known().is_complete() {
            return Err(Faults::Failed.about("the fleet is not known yet; ask again"));
        }
        let view = View::new(&self.roll, &self.fleet, self.worker.as_ref());
        view.ok_or_else(|| Faults::Failed.about("the worker is not there any more"))
    }

    async fn supervisor(&self, method: &str, params: &Params) -> Result<Value, Wrong> {
        let name = || params.text(0);
        match method {
            "getAPIVersion" | "getVersion" => Ok(API_VERSION.into()),
            "getSupervisorVersion" => Ok(VERSION.into()),
            "getIdentification" => Ok(match &self.worker {
                Some(worker) => worker.as_str().into(),
                None => self.fleet.bus().fleet().as_str().into(),
            }),
            "getState" => Ok(self.state()),
            "getPID" => Ok(match self.view()?.worker {
                Some(worker) => worker.supervisor_pid.into(),
                None => std::process::id().into(),
            }),
            "getProcessInfo" => Ok(info::one(&*self.view()?.one(name()?)?, &moment())),
            "getAllProcessInfo" => {
                let view = self.view()?;
                Ok(info::all(view.all().iter().map(AsRef::as_ref), &moment()))
            }
            "getAllConfigInfo" => Ok(self.configs(&self.view()?)),
            "reloadConfig" => {
                let none = || Value::Array(Vec::new());
                Ok(Value::Array(vec![Value::Array(vec![none(), none(), none()])]))
            }
            "shutdown" | "restart" => Err(Faults::Failed.about(format!(
                "a fleet has no supervisord to {method}; its programs: supervisorctl restart all, stop all"
            ))),
            "addProcessGroup" => groups::add(self, name()?).await,
            "removeProcessGroup" => groups::remove(self, name()?).await,
            "startProcess" => acts::start(self, name()?, params.wait(1)).await,
            "startProcessGroup" => acts::start_group(self, name()?, params.wait(1)).await,
            "startAllProcesses" => acts::start_all(self, params.wait(0)).await,
            "stopProcess" => acts::stop(self, name()?, params.wait(1)).await,
            "stopProcessGroup" => acts::stop_group(self, name()?, params.wait(1)).await,
            "stopAllProcesses" => acts::stop_all(self, params.wait(0)).await,
            "signalProcess" => acts::signal(self, name()?, params.at(1)).await,
            "signalProcessGroup" => acts::signal_group(self, name()?, params.at(1)).await,
            "signalAllProcesses" => acts::signal_all(self, params.at(0)).await,
            "clearProcessLog" | "clearProcessLogs" => acts::clear(self, name()?).await,
            "clearAllProcessLogs" => acts::clear_all(self).await,
            "sendProcessStdin" => stdin::send(self, name()?, params.at(1)).await,
            "sendRemoteCommEvent" => stdin::tell(self, name()?, params.text(1)?).await,
            _ => logs::call(self, method, params).await,
        }
    }

    /// Whether what is told still holds: without a scheduler it grows old, and nothing can be done.
    fn state(&self) -> Value {
        let (code, name) = match self.fleet.known().silent() {
            None => (1, "RUNNING"),
            Some(_) => (2, "FATAL"),
        };
        Value::of([("statecode", code.into()), ("statename", name.into())])
    }

    fn configs(&self, view: &View) -> Value {
        let known = self.fleet.known();
        let mut all: Vec<_> = view.all().iter().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let config = |process: &Arc<crate::processes::Process>| {
            let program = known.programs().get(&process.row.program)?;
            Some(config::config(process, &program.spec))
        };
        Value::Array(all.into_iter().filter_map(config).collect())
    }
}

fn moment() -> info::Moment {
    let now = Timestamp::from_unix_nanos(jiff::Timestamp::now().as_nanosecond());
    info::Moment { now, zone: TimeZone::system() }
}

fn system(method_name: &str, params: &Params) -> Result<Value, Wrong> {
    let known = || {
        let name = params.text(0)?;
        method(name).ok_or_else(|| Faults::SignatureUnsupported.bare())
    };
    match method_name {
        "listMethods" => {
            Ok(Value::Array(METHODS.iter().map(|method| method.name.into()).collect()))
        }
        "methodHelp" => Ok(known()?.help().into()),
        "methodSignature" => {
            Ok(Value::Array(known()?.signature().into_iter().map(Value::from).collect()))
        }
        _ => Err(Faults::UnknownMethod.bare()),
    }
}
