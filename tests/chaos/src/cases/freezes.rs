//! What stands still, and goes on later.

use nix::sys::signal::Signal;

use super::{Stage, back, kill, seconds};
use crate::clock::{look, millis, now, rest};
use crate::fleet::{DEADLINE, Fleet, LOOK};
use crate::report::Spread;
use crate::{Outcome, lives, process, programs};

/// So long a scheduler is let do something wrong.
const WATCHED: u64 = 3;
/// Short, so that leases expire soon; longer than a busy machine stands still.
const TOUCH_TIMEOUT: u32 = 6;

/// One scheduler is frozen, a worker is lost and comes back, the other scheduler moves what was on
/// it; the first one thaws and must see that all is done. Then alone: frozen, it misses a loss that
/// is over when it thaws.
pub(super) async fn scheduler_frozen(stage: &Stage) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    let mut web = programs::witness(directory, 4, None)?;
    web.insert("touch_timeout".to_owned(), TOUCH_TIMEOUT.into());
    let single = programs::witness(directory, 2, Some(TOUCH_TIMEOUT))?;
    stage.apply(vec![("web".to_owned(), web), ("single".to_owned(), single)]).await?;
    let (s1, s2) = (&stage.fleet.schedulers[0], &stage.fleet.schedulers[1]);
    let w1 = &stage.fleet.workers[0];
    s1.signal(Signal::SIGSTOP);
    kill(w1).await?;
    stage
        .wait("all to run on w2", |rows| {
            let other = rows.iter().find(|row| {
                row.worker.as_ref().is_none_or(|w| w.as_str() != "w2")
                    || row.state != dsbus_schema::state::State::Running
            });
            other.map(super::told)
        })
        .await?;
    back(w1).await?;
    let before = stage.placed("web").await?.len() + stage.placed("single").await?.len();
    s1.signal(Signal::SIGCONT);
    stage.workers_ready().await?;
    rest(seconds(WATCHED)).await;
    let after = stage.placed("web").await?.len() + stage.placed("single").await?.len();
    if before != after {
        return Err(format!("it placed {} instances after it thawed", after - before).into());
    }
    // Now w2 has everything, and s1 is alone.
    kill(s2).await?;
    s1.signal(Signal::SIGSTOP);
    let w2 = &stage.fleet.workers[1];
    kill(w2).await?;
    // The lease expires meanwhile; the worker is back before anybody could judge it.
    rest(seconds(2 * u64::from(TOUCH_TIMEOUT))).await;
    back(w2).await?;
    look("w2 to touch", DEADLINE, LOOK, async || touches(stage, "w2").await).await?;
    s1.signal(Signal::SIGCONT);
    stage.all_run().await?;
    rest(seconds(WATCHED)).await;
    let last = stage.placed("web").await?.len() + stage.placed("single").await?.len();
    if last != after {
        let moved = last - after;
        return Err(format!("it moved {moved} instances of a worker that lives").into());
    }
    back(s2).await?;
    stage.assert_single("single")?;
    stage.assert_gapless().await?;
    Ok(vec![
        format!(
            "a scheduler that slept through a failover placed nothing after it ({before} placements)"
        ),
        "one that slept through a loss that was over moved nothing".to_owned(),
    ])
}

/// Whether a worker's lease is a new run's.
async fn touches(stage: &Stage, worker: &str) -> Result<(), String> {
    use dsbus_schema::ids::WorkerName;
    use dsbus_schema::storage::{Bucket, touch_key};

    let name = WorkerName::parse(worker).map_err(|e| e.to_string())?;
    let entry = stage.bus.get(Bucket::Fleet, &touch_key(&name, u64::from(TOUCH_TIMEOUT))).await;
    let entry = entry.map_err(|e| e.to_string())?.ok_or("no lease")?;
    match entry.value {
        dsbus_client::Value::Put(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// The machine of an exclusive child stands still until another copy runs, and goes on.
pub(super) async fn machine_frozen(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    let single = programs::witness(directory, 1, Some(TOUCH_TIMEOUT))?;
    stage.apply(vec![("single".to_owned(), single)]).await?;
    let mut told = Vec::new();
    let hosts = &stage.fleet.hosts;
    if !hosts.freezes() {
        told.push(
            "SKIPPED: no freezer of cgroup v1: SIGSTOP instead, which holds no SIGKILL back"
                .to_owned(),
        );
    }
    let mut ended = Vec::new();
    for _ in 0..if short { 1 } else { 10 } {
        let rows = stage.all_run().await?;
        let worker = rows[0].worker.as_ref().ok_or("it has no place")?.to_string();
        let daemon =
            stage.fleet.workers.iter().find(|w| w.name == worker).ok_or("no such worker")?;
        let old = stage.child("single:0").ok_or("no child")?;
        look("it to say that it lives", DEADLINE, LOOK, async || {
            let lives = stage.lives().map_err(|e| e.to_string())?;
            let lives = lives.iter().any(|life| life.pid == old);
            if lives { Ok(()) } else { Err(format!("process {old} has not")) }
        })
        .await?;
        let stopped = daemon.pid().map(process::tree).unwrap_or_default();
        daemon.fault_begins();
        if hosts.freezes() {
            hosts.freeze(&daemon.host)?;
        } else {
            for pid in &stopped {
                process::signal(*pid, Signal::SIGSTOP);
            }
        }
        let what = "it to run elsewhere";
        let elsewhere = stage.wait(what, |rows| {
            let there = rows[0].worker.as_ref().is_some_and(|w| w.as_str() != worker);
            let runs = rows[0].state == dsbus_schema::state::State::Running;
            (!there || !runs).then(|| super::told(&rows[0]))
        });
        elsewhere.await?;
        let gone = tokio::spawn(process::end(old));
        let thawed = now();
        if hosts.freezes() {
            hosts.thaw(&daemon.host)?;
        } else {
            for pid in stopped.iter().rev() {
                process::signal(*pid, Signal::SIGCONT);
            }
        }
        let dead = gone.await?;
        daemon.fault_ends();
        stage.workers_ready().await?;
        outdated(stage, old, thawed)?;
        // `None`: it was dead already.
        ended.extend(dead.map(|dead| millis(thawed, dead)));
    }
    let times = ended.len();
    let (_, refused, taken) = lives::store(directory, "single:0");
    told.push(format!(
        "the outdated child ended after the thaw, ms p50 / p99 / max: {} ({times} times); {refused} times it still wrote under its old epoch, and was refused; {taken} such writes were taken",
        crate::report::told(Spread::of(ended))
    ));
    stage.assert_gapless().await?;
    let agent = stage.fleet.workers[0].pid().and_then(|pid| Fleet::below(pid).0);
    agent.ok_or("w1 has no agent again")?;
    Ok(told)
}

/// Fails unless an outdated child whose machine thawed is gone for good, and wrote nothing.
fn outdated(stage: &Stage, old: i32, thawed: u64) -> Outcome<()> {
    let (_, _, taken) = lives::store(&stage.fleet.directory, "single:0");
    if taken > 0 {
        return Err(format!("{taken} writes under an old epoch were taken").into());
    }
    if process::alive(old) {
        return Err("the outdated child lives".into());
    }
    let lives = stage.lives()?;
    let by_old = lives.iter().find(|life| life.pid == old).ok_or("no such life")?;
    let again = lives.iter().find(|l| l.epoch == by_old.epoch && l.first > thawed);
    if let Some(again) = again {
        return Err(format!("the outdated copy was started again: {again:?}").into());
    }
    Ok(())
}
