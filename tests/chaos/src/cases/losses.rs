//! All of something is lost at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::command::{Act, Acted, Envelope, Verb};
use dsbus_schema::ids::Target;
use nix::sys::signal::Signal;
use uuid::Uuid;

use super::{Stage, back, kill, seconds};
use crate::clock::{SECOND, look, millis, now, rest};
use crate::daemon::Daemon;
use crate::fleet::{DEADLINE, Fleet, LOOK};
use crate::hosts::Way;
use crate::report::Spread;
use crate::{Outcome, process, programs};

/// Between two children that crash.
const CRASH: Duration = Duration::from_millis(400);

/// All schedulers are dead, and children crash meanwhile.
pub(super) async fn no_schedulers(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    stage
        .apply(vec![
            ("web".to_owned(), programs::witness(directory, 6, None)?),
            ("single".to_owned(), programs::witness(directory, 3, Some(5))?),
        ])
        .await?;
    for scheduler in &stage.fleet.schedulers {
        kill(scheduler).await?;
    }
    let begun = now();
    let length = if short { 5 } else { 180 };
    let (mut crashes, mut killed) = (0, BTreeSet::new());
    while now() < begun + length * SECOND {
        // One that has not said yet that it lives is not counted, and one that is slow to die dies once.
        let lives = stage.lives()?;
        let children: Vec<i32> = process::witnesses(directory)
            .into_iter()
            .map(|(pid, _)| pid)
            .filter(|pid| !killed.contains(pid) && lives.iter().any(|life| life.pid == *pid))
            .collect();
        if let Some(pid) = children.get(crashes % children.len().max(1)) {
            process::signal(*pid, Signal::SIGKILL);
            killed.insert(*pid);
            crashes += 1;
        }
        rest(CRASH).await;
    }
    look("all children to live", DEADLINE, LOOK, async || {
        match process::witnesses(directory).len() {
            9 => Ok(()),
            others => Err(format!("{others} do")),
        }
    })
    .await?;
    for scheduler in &stage.fleet.schedulers {
        back(scheduler).await?;
    }
    stage.all_run().await?;
    // The last one may not have said yet that it lives.
    look("all starts to be counted", DEADLINE, LOOK, async || {
        let lives = stage.lives().map_err(|e| e.to_string())?;
        match lives.iter().filter(|life| life.first > begun).count() {
            born if born == crashes => Ok(()),
            born => Err(format!("{crashes} children crashed, {born} were started")),
        }
    })
    .await?;
    for program in ["web", "single"] {
        stage.assert_no_move(program).await?;
        stage.assert_single(program)?;
    }
    stage.assert_gapless().await?;
    Ok(vec![format!(
        "{crashes} children crashed in {length} s without a scheduler: each was started again in place, no event is lost"
    )])
}

/// All daemons are killed and started in random order, NATS servers, too.
pub(super) async fn all_at_once(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    stage
        .apply(vec![
            ("web".to_owned(), programs::witness(directory, 4, None)?),
            ("single".to_owned(), programs::witness(directory, 2, Some(5))?),
            ("stopped".to_owned(), programs::witness(directory, 2, None)?),
        ])
        .await?;
    let envelope = Envelope { id: Some(Uuid::now_v7()), version: None };
    let act = Act::new(envelope, vec![Target::parse("stopped")?, Target::parse("web:1")?]);
    look("the stop to be answered", DEADLINE, LOOK, async || {
        let stopped = stage.bus.command::<_, Acted>(Verb::Stop, &act).await;
        stopped.map(drop).map_err(|e| e.to_string())
    })
    .await?;
    let before = stage.all_run().await?;
    let mut rng = fastrand::Rng::new();
    let times = if short { 1 } else { 10 };
    for _ in 0..times {
        let mut daemons: Vec<Arc<Daemon>> = stage.fleet.daemons().cloned().collect();
        rng.shuffle(&mut daemons);
        for daemon in &daemons {
            kill(daemon).await?;
        }
        rng.shuffle(&mut daemons);
        for daemon in &daemons {
            back(daemon).await?;
            rest(Duration::from_millis(rng.u64(0..700))).await;
        }
        look("NATS to be well", DEADLINE, LOOK, async || stage.fleet.healthy().await).await?;
        look("workers", DEADLINE, LOOK, async || {
            stage.bus.reconnect().await;
            rest(seconds(1)).await;
            crate::fleet::workers(&stage.bus).await.map(drop)
        })
        .await?;
        stage.workers_ready().await?;
        let after = stage.all_run().await?;
        for (old, new) in before.iter().zip(&after) {
            if (&old.name, old.wanted) != (&new.name, new.wanted) {
                return Err(format!("wanted before {old:?}, after {new:?}").into());
            }
        }
        let running = after.iter().filter(|row| row.wanted.run).count();
        look("as many children as instances that run", DEADLINE, LOOK, async || {
            match process::witnesses(directory).len() {
                living if living == running => Ok(()),
                living => Err(format!("{living} children, {running} instances")),
            }
        })
        .await?;
        stage.assert_single("single")?;
        let agents = stage.fleet.workers.iter().filter_map(|w| Fleet::below(w.pid()?).0).count();
        if agents != stage.fleet.workers.len() {
            return Err(format!("{agents} agents").into());
        }
    }
    stage.assert_gapless().await?;
    Ok(vec![format!("{times} times: what ran runs, what was stopped is stopped")])
}

/// A worker and the NATS server of the only scheduler are gone without a word; how long it takes
/// until the worker's instances run elsewhere.
pub(super) async fn power_lost(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    if let Some(why) = &stage.fleet.hosts.no_network {
        return Ok(vec![format!("SKIPPED: no host can be cut: no network namespaces: {why}")]);
    }
    let directory = &stage.fleet.directory;
    stage.apply(vec![("web".to_owned(), programs::witness(directory, 4, None)?)]).await?;
    let mut away = Vec::new();
    for _ in 0..if short { 1 } else { 5 } {
        let before = stage.all_run().await?;
        let worker = before[0].worker.as_ref().ok_or("it has no place")?.to_string();
        let lost = stage.fleet.workers.iter().find(|w| w.name == worker).ok_or("no worker")?;
        let server = stage.fleet.server_of("dsbus scheduler s1").await.ok_or("no server")?;
        let begun = now();
        stage.fleet.hosts.cut(&server.host, Way::Both)?;
        kill(lost).await?;
        look("its instances to run elsewhere", DEADLINE, LOOK, async || match process::witnesses(
            directory,
        )
        .len()
        {
            4 => Ok(()),
            others => Err(format!("{others} live")),
        })
        .await?;
        away.push(millis(begun, now()));
        stage.fleet.hosts.heal(&server.host)?;
        back(lost).await?;
        rest(seconds(1)).await;
        look("NATS to be well", DEADLINE, LOOK, async || stage.fleet.healthy().await).await?;
        stage.bus.reconnect().await;
        stage.workers_ready().await?;
    }
    stage.assert_gapless().await?;
    let times = away.len();
    let spread = crate::report::told(Spread::of(away));
    Ok(vec![format!(
        "{times} times, touch_timeout 5 s: all ran elsewhere after, ms p50 / p99 / max: {spread}"
    )])
}
