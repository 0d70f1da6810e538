//! The HTTP interface of distsuper 1.0.0, so that its clients can move over: its paths, its
//! parameters, its codes. What it says is what is the case: how a process ended, and whether its
//! machine lives.

mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod read;
mod say;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use dsbus_schema::command::{ActedInstance, Applied, Create, Envelope, Verb, code};
use dsbus_schema::ids::{ProgramName, Target};
use dsbus_schema::program::Program;
use dsbus_schema::state::State as Stands;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::fleet::{Change, Failed};
use crate::http::{Caller, Gateway};
use crate::rest::wait::{Goal, Verdict, wait};
use fault::{Code, Fault};
use read::Said;

/// How long an answer waits until it is so: distsuper's clients give up after 30 s.
const WAIT: Duration = Duration::from_secs(20);
/// How long a program is looked for that another gateway may have declared just now.
const HEAR_MAX: Duration = Duration::from_secs(1);

/// Its paths. Only those that look may be asked for by GET: whatever a page of another site can make
/// a browser ask for changes nothing. Its own clients send POST.
pub(crate) fn routes() -> Router<Gateway> {
    let mut router = Router::new();
    for deed in [Deed::Check, Deed::Touch, Deed::Create, Deed::Start, Deed::Stop, Deed::Restart] {
        router = router.route(deed.path(), any(move |s, c, r| answer(deed, s, c, r)));
    }
    router.route(Deed::Status.path(), any(move |s, c, r| answer(Deed::Status, s, c, r)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Check,
    Touch,
    Create,
    Start,
    Stop,
    Restart,
    Status,
}

impl Deed {
    fn path(self) -> &'static str {
        match self {
            Deed::Check => "/check",
            Deed::Touch => "/touch",
            Deed::Create => "/create",
            Deed::Start => "/start",
            Deed::Stop => "/stop",
            Deed::Restart => "/restart",
            Deed::Status => "/status",
        }
    }

    fn asks_the_fleet(self) -> bool {
        !matches!(self, Deed::Check | Deed::Touch)
    }

    fn changes(self) -> bool {
        match self {
            Deed::Check | Deed::Touch | Deed::Status => false,
            Deed::Create | Deed::Start | Deed::Stop | Deed::Restart => true,
        }
    }
}

async fn answer(
    deed: Deed,
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let asks = Asks { gateway, caller };
    let by_post = request.method() == Method::POST;
    let said = read::said(request).await;
    let answer = match (deed, said) {
        (deed, _) if deed.changes() && !by_post => {
            Err(Fault::new(Code::Client, format!("{} is asked for by POST", deed.path())))
        }
        (_, Err(fault)) => Err(fault),
        // To say that there is no such program would be untrue.
        _ if deed.asks_the_fleet() && !asks.gateway.fleet.known().is_complete() => {
            Err(Fault::new(Code::Server, "the fleet is not known yet; ask again"))
        }
        (Deed::Check | Deed::Touch, Ok(_)) => Ok(json!({})),
        (Deed::Create, Ok(said)) => asks.create(&said).await,
        (Deed::Start, Ok(said)) => asks.start(&said).await,
        (Deed::Stop, Ok(said)) => asks.stop(&said).await,
        (Deed::Restart, Ok(said)) => asks.restart(&said).await,
        (Deed::Status, Ok(said)) => asks.status(&said).await,
    };
    say::response(answer)
}

/// Somebody who asks.
struct Asks {
    gateway: Gateway,
    caller: Caller,
}

impl Asks {
    async fn create(&self, said: &Said) -> Result<Value, Fault> {
        let (name, starts, keys) = {
            let known = self.gateway.fleet.known();
            read::declaration(said, known.workers())?
        };
        let envelope = Envelope { id: Some(Uuid::now_v7()), version: None };
        let create = Create { envelope, name: name.clone(), program: keys };
        let applied: Result<Applied, Failed> =
            self.gateway.fleet.command(&self.caller.user, Verb::Create, &create).await;
        let applied = applied.map_err(|failed| match failed.code {
            code::CONFLICT => Fault::new(Code::Exists, failed.text),
            _ => Fault::of(failed, Code::Create),
        })?;
        // Whoever asks for it next finds it.
        let _known = self.find(|program| program.name == name).await;
        let id = applied.programs.first().map(|program| program.id);
        let data = json!({ "program_id": id });
        if starts {
            self.act(Verb::Start, &name, Code::Start).await.map_err(|fault| fault.with(&data))?;
        }
        Ok(data)
    }

    async fn start(&self, said: &Said) -> Result<Value, Fault> {
        let program = self.named(said).await?;
        // They run, or are about to.
        if self.all_stand(&program.name, &[Stands::Running, Stands::Starting]) {
            return Err(Fault::new(Code::Started, ""));
        }
        self.act(Verb::Start, &program.name, Code::Start).await.map(|()| id(&program))
    }

    async fn stop(&self, said: &Said) -> Result<Value, Fault> {
        let program = self.named(said).await?;
        if self.all_stand(&program.name, &[Stands::Stopped]) {
            return Err(Fault::new(Code::Stopped, ""));
        }
        self.act(Verb::Stop, &program.name, Code::Stop).await.map(|()| id(&program))
    }

    async fn restart(&self, said: &Said) -> Result<Value, Fault> {
        let program = self.named(said).await?;
        self.act(Verb::Restart, &program.name, Code::Restart).await.map(|()| id(&program))
    }

    async fn status(&self, said: &Said) -> Result<Value, Fault> {
        let wanted = said.get("status").cloned();
        let fits =
            |row: &Value| wanted.as_ref().is_none_or(|wanted| say::same(wanted, &row["status"]));
        if said.has_name() {
            let program = self.named(said).await?;
            let row = say::row(&program, &self.gateway.fleet.known());
            return Some(row).filter(fits).ok_or_else(|| Fault::new(Code::NoProgram, ""));
        }
        let known = self.gateway.fleet.known();
        let all = known.programs().values().filter(|program| !program.removing);
        Ok(all.map(|program| say::row(program, &known)).filter(fits).collect())
    }

    /// The program that is meant.
    async fn named(&self, said: &Said) -> Result<Arc<Program>, Fault> {
        let name = said.name()?;
        let is =
            |program: &Program| name == program.name.as_str() || name == program.id.to_string();
        let found = self.find(is).await.filter(|program| !program.removing);
        found.ok_or_else(|| Fault::new(Code::NoProgram, format!("no program is named {name:?}")))
    }

    /// A program; what was declared just now is heard of soon.
    async fn find(&self, is: impl Fn(&Program) -> bool) -> Option<Arc<Program>> {
        let fleet = &self.gateway.fleet;
        let mut changes = fleet.changes();
        let look = || fleet.known().programs().values().find(|program| is(program)).cloned();
        let heard = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                while matches!(changes.recv().await, Ok(change) if !matches!(change, Change::Programs))
                {
                }
            }
        };
        timeout(HEAR_MAX, heard).await.ok()
    }

    /// Whether each of its instances is in one of these states already.
    fn all_stand(&self, name: &ProgramName, states: &[Stands]) -> bool {
        let known = self.gateway.fleet.known();
        let mut rows = known.rows().values().filter(|row| row.program == *name).peekable();
        rows.peek().is_some() && rows.all(|row| states.contains(&row.state))
    }

    /// Acts, and waits until it is so; `fault` is what it is when it does not come true.
    async fn act(&self, verb: Verb, name: &ProgramName, fault: Code) -> Result<(), Fault> {
        let fleet = &self.gateway.fleet;
        let names = vec![Target::Program(name.clone())];
        let acted: Result<Vec<ActedInstance>, Failed> =
            fleet.act(&self.caller.user, verb, names).await;
        let acted = acted.map_err(|failed| Fault::of(failed, fault))?;
        for (instance, verdict) in wait(fleet, acted, Goal::of(verb), WAIT).await {
            match verdict {
                Verdict::Done(_) => {}
                Verdict::Failed(why) => {
                    return Err(Fault::new(fault, format!("{instance}: {why}")));
                }
                Verdict::Waiting(how) => {
                    let why = format!("{instance}: not within {} s: {how}", WAIT.as_secs());
                    return Err(Fault::new(fault, why));
                }
            }
        }
        Ok(())
    }
}

fn id(program: &Program) -> Value {
    json!({ "program_id": program.id })
}
