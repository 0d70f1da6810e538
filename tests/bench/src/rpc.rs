//! How long `getAllProcessInfo` takes: of a gateway, and of a supervisord, each asked over a socket of
//! the file system, a connection for each call. All of the processes are declared, and none runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::clock::{look, millis, now};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor, call};
use crate::{Outcome, Setting};

/// Processes.
const MANY: usize = 1_000;
/// The rounds of both.
const ROUNDS: usize = 300;
const ROUNDS_PEER: usize = 30;
/// So many times as many calls in a second.
const TIMES_MIN: f64 = 10.0;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

const METHOD: &str = "supervisor.getAllProcessInfo";

/// A gateway; it ends with the value.
struct Gateway {
    child: Child,
    socket: PathBuf,
}

impl Gateway {
    fn start(fleet: &Fleet) -> Outcome<Gateway> {
        let socket = fleet.path().join("gateway.sock");
        let at = format!("unix:{}", socket.display());
        let mut command = fleet.command(&["gateway", "--listen", &at]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Gateway { child: command.spawn()?, socket })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let sleeper = ["sleep", "100000"].map(str::to_owned);
    let fleet = Fleet::start(1, 1)?;
    fleet.ask_for(&fleet::program(
        "web",
        &sleeper,
        &format!("numprocs = {MANY}\nautostart = false"),
    ))?;
    let gateway = Gateway::start(&fleet)?;
    wait_for_all(&gateway.socket)?;
    let peer = setting.peer.then(|| {
        supervisor::version()?;
        let rest = format!("numprocs={MANY}\nautostart=false");
        let peer = Supervisor::start(&supervisor::program("web", &sleeper, &rest))?;
        wait_for_all(&peer.path("sock"))?;
        Outcome::Ok(peer)
    });
    let peer = peer.transpose()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let rounds = setting.rounds(ROUNDS, 10);
    let each = rounds / setting.rounds(ROUNDS_PEER, 2);
    for round in 0..rounds {
        ours.push(timed(&gateway.socket)?);
        if let Some(peer) = &peer
            && round % each == 0
        {
            theirs.push(timed(&peer.path("sock"))?);
        }
    }
    let ours = report.row(Who::Ours, "getAllProcessInfo of a gateway", "ms", ours);
    if peer.is_some() {
        let theirs = report.row(Who::Peer, "getAllProcessInfo of a supervisord", "ms", theirs);
        let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
        report.ratio(
            &format!("calls in a second of {MANY} processes, gateway / supervisord, p50"),
            (median(&theirs), median(&ours)),
            Some(Limit::AtLeast(TIMES_MIN)),
        );
    }
    Ok(report)
}

/// From the connection to the end of the answer.
fn timed(socket: &Path) -> Outcome<f64> {
    let begun = now();
    let answer = call(socket, METHOD, "")?;
    let took = millis(now().since(begun));
    let count = processes(&answer);
    if count == MANY { Ok(took) } else { Err(format!("{count} processes were told").into()) }
}

fn processes(answer: &str) -> usize {
    answer.matches("<name>statename</name>").count()
}

fn wait_for_all(socket: &Path) -> Outcome<()> {
    look("all processes to be told", DEADLINE, LOOK, || {
        let told = call(socket, METHOD, "").map_or(0, |answer| processes(&answer));
        Ok((told == MANY).then_some(()))
    })
}
