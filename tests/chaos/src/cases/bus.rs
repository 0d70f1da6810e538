//! NATS servers that die.

use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::Bucket;

use super::{Stage, back, kill, seconds, sleeper};
use crate::clock::{look, millis, now, rest};
use crate::fleet::{DEADLINE, LOOK};
use crate::report::Spread;
use crate::{Outcome, lives, programs};

/// Distinct leases of each of three workers: 200 in all, and one more.
const LEASES: u32 = 67;

/// The leader of the stream that holds the leases is killed 20 times (3), while workers hold 200 of
/// them, the shortest of 3 s.
pub(super) async fn leader_killed(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    let mut declared =
        vec![("web".to_owned(), programs::witness(&stage.fleet.directory, 6, None)?)];
    declared[0].1.insert("touch_timeout".to_owned(), 3.into());
    for (worker, lease) in (1..=3).flat_map(|w| (3..3 + LEASES).map(move |lease| (w, lease))) {
        let mut keys = sleeper(1, lease);
        keys.insert("machines".to_owned(), vec![format!("w{worker}")].into());
        declared.push((format!("lease{worker}-{lease}"), keys));
    }
    stage.apply(declared).await?;
    let stream = Bucket::Fleet.stream(&FleetName::default());
    let mut elections = Vec::new();
    let kills = if short { 3 } else { 20 };
    for _ in 0..kills {
        let leader = look("a leader", DEADLINE, LOOK, async || {
            stage.fleet.leader(&stream).await.ok_or_else(String::new)
        })
        .await?;
        let begun = now();
        kill(&leader).await?;
        look("another leader", DEADLINE, LOOK, async || {
            stage.fleet.leader(&stream).await.map(drop).ok_or_else(String::new)
        })
        .await?;
        elections.push(millis(begun, now()));
        back(&leader).await?;
        look("NATS to be well", DEADLINE, LOOK, async || stage.fleet.healthy().await).await?;
    }
    stage.all_run().await?;
    stage.assert_no_move("web").await?;
    let leases = 3 * LEASES;
    let spread = crate::report::told(Spread::of(elections));
    Ok(vec![
        format!("the leader of {stream} was killed {kills} times beside {leases} leases: no move"),
        format!("without a leader, ms p50 / p99 / max: {spread}"),
    ])
}

/// The only NATS server is killed, and is back after a while.
pub(super) async fn server_down(stage: &Stage, short: bool) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    stage
        .apply(vec![
            ("single".to_owned(), programs::witness(directory, 2, Some(5))?),
            ("patient".to_owned(), programs::witness(directory, 2, Some(15))?),
            ("web".to_owned(), programs::witness(directory, 4, None)?),
        ])
        .await?;
    let server = stage.fleet.nats.first().ok_or("no server")?;
    let lengths: &[u64] = if short { &[1, 5] } else { &[1, 5, 30, 60] };
    let mut told = Vec::new();
    for length in lengths {
        let begun = now();
        kill(server).await?;
        rest(seconds(*length)).await;
        back(server).await?;
        stage.workers_ready().await?;
        stage.all_run().await?;
        let ended = now();
        for program in ["single", "patient", "web"] {
            stage.assert_no_move(program).await?;
            stage.assert_single(program)?;
            let of = format!("{program}:");
            let lives = stage.lives()?;
            let born =
                lives.iter().filter(|l| l.instance.starts_with(&of) && l.first > begun).count();
            if program == "web" && born > 0 {
                return Err(format!("{born} ordinary children were started anew").into());
            }
            let outages = lives::outages(&lives, ended, |name| name.starts_with(&of));
            let away = outages.iter().filter(|o| o.from > begun).map(|o| millis(o.from, o.until));
            told.push(format!(
                "away for {length} s: {program}: {born} started anew in place, longest without a copy {} ms",
                away.max().unwrap_or(0)
            ));
        }
    }
    stage.assert_gapless().await?;
    Ok(told)
}
