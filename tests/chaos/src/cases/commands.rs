//! Many who command at once.

use std::collections::BTreeSet;

use dsbus_client::{Bus, Error};
use dsbus_schema::command::{Act, Acted, Envelope, Verb};
use dsbus_schema::ids::Target;
use uuid::Uuid;

use super::Stage;
use crate::fleet::instances;
use crate::{Outcome, process, programs};

const CLIENTS: usize = 10;
const EACH: usize = 5;
/// How often a command is sent again that nobody answered, on a busy machine.
const AGAIN_MAX: usize = 10;

/// Ten clients send five commands each, all at once, about one program; then all of them again with
/// the same ids.
pub(super) async fn fifty_commands(stage: &Stage) -> Outcome<Vec<String>> {
    let directory = &stage.fleet.directory;
    stage.apply(vec![("web".to_owned(), programs::witness(directory, 3, None)?)]).await?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(stage.fleet.bus(&format!("chaos client {number}")).await?);
    }
    let verbs = [Verb::Start, Verb::Stop, Verb::Restart, Verb::Apply, Verb::Restart];
    let ids: Vec<Uuid> = (0..CLIENTS * EACH).map(|_| Uuid::now_v7()).collect();
    let mut answered = Vec::new();
    let (mut started, mut restarted) = (0, 0);
    let all = (0..CLIENTS * EACH).map(|n| {
        let copies = u32::try_from(2 + n % 3).unwrap_or(2);
        send(stage, &clients[n % CLIENTS], verbs[n / CLIENTS], ids[n], copies)
    });
    for (n, answer) in futures::future::join_all(all).await.into_iter().enumerate() {
        // One answer each, and a refusal is one: too many changed it at once.
        match answer {
            Ok(()) => answered.push(n),
            Err(Error::Refused { code: 409, .. }) => continue,
            Err(error) => return Err(format!("{:?}: {error}", verbs[n / CLIENTS]).into()),
        }
        match verbs[n / CLIENTS] {
            Verb::Start => started += 1,
            Verb::Restart => restarted += 1,
            _ => {}
        }
    }
    let first = consistent(stage, started, restarted).await?;
    // Sent again, each is answered again, and none acts.
    for n in &answered {
        let verb = verbs[n / CLIENTS];
        if verb != Verb::Apply {
            send(stage, &clients[n % CLIENTS], verb, ids[*n], 0).await?;
        }
    }
    let second = consistent(stage, started, restarted).await?;
    if first != second {
        return Err(format!("it acted twice: {first:?}, then {second:?}").into());
    }
    let (answered, refused) = (answered.len(), CLIENTS * EACH - answered.len());
    Ok(vec![format!(
        "{answered} commands at once were done and {refused} refused as too many at once, each once; {restarted} restarts counted; sent again, none acted"
    )])
}

/// As whoever gets no answer does: again, with the same id.
async fn send(stage: &Stage, client: &Bus, verb: Verb, id: Uuid, copies: u32) -> Result<(), Error> {
    let mut answer = send_once(stage, client, verb, id, copies).await;
    for _ in 0..AGAIN_MAX {
        if answer != Err(Error::Timeout) {
            break;
        }
        answer = send_once(stage, client, verb, id, copies).await;
    }
    answer
}

async fn send_once(
    stage: &Stage,
    client: &Bus,
    verb: Verb,
    id: Uuid,
    copies: u32,
) -> Result<(), Error> {
    if verb == Verb::Apply {
        let keys = programs::witness(&stage.fleet.directory, copies, None)
            .map_err(|_| Error::Disconnected)?;
        return programs::apply(client, id, vec![("web".to_owned(), keys)]).await.map(drop);
    }
    let names = Target::parse("web").into_iter().collect();
    let act = Act::new(Envelope { id: Some(id), version: None }, names);
    client.command::<_, Acted>(verb, &act).await.map(drop)
}

/// Waits until all instances agree, and says on what.
async fn consistent(
    stage: &Stage,
    started: u64,
    restarted: u64,
) -> Outcome<(usize, bool, u64, u64)> {
    let rows = stage.all_run().await?;
    let wanted: BTreeSet<_> =
        rows.iter().map(|r| (r.wanted.run, r.wanted.starts, r.wanted.restarts)).collect();
    let first = wanted.first().copied().ok_or("no instance")?;
    if wanted.len() != 1 || (first.1, first.2) != (started, restarted) {
        return Err(format!(
            "acknowledged were {started} starts and {restarted} restarts; wanted is {wanted:?}"
        )
        .into());
    }
    let again = instances(&stage.bus).await?;
    if again.len() != rows.len() {
        return Err(format!("{} instances, then {}", rows.len(), again.len()).into());
    }
    crate::clock::look("children", crate::fleet::DEADLINE, crate::fleet::LOOK, async || {
        let living = process::witnesses(&stage.fleet.directory).len();
        let due = if first.0 { rows.len() } else { 0 };
        if living == due { Ok(()) } else { Err(format!("{living} children, {due} due")) }
    })
    .await?;
    Ok((rows.len(), first.0, first.1, first.2))
}
