//! Why no worker takes what is waited for, told while one waits.

use dsbus_schema::command::{Ask, Explanation, Verb};
use dsbus_schema::ids::{InstanceId, Target};

use crate::connection::Connection;
use crate::output;

/// Most workers that are named; `dsbus explain` has all.
const WORKERS_MAX: usize = 5;

/// Asks the schedulers, and tells it. Who cannot know it goes on waiting without.
pub(super) async fn tell(connection: &Connection, name: &InstanceId) {
    let ask = Ask { names: vec![Target::Instance(name.clone())], ..Ask::default() };
    let answer = connection.bus.command::<_, Vec<Explanation>>(Verb::Explain, &ask).await;
    for line in answer.iter().flatten().flat_map(lines) {
        output::note(line);
    }
}

/// Nothing where a worker could take it: then it is about to.
fn lines(of: &Explanation) -> Vec<String> {
    if of.workers.iter().any(|verdict| verdict.refusal.is_none()) {
        return Vec::new();
    }
    let mut lines = vec![format!("{} waits: {}", of.name, of.because)];
    for verdict in of.workers.iter().take(WORKERS_MAX) {
        let refusal = verdict.refusal.as_deref().unwrap_or_default();
        // With one worker the sentence says it all.
        if !of.because.contains(refusal) {
            lines.push(format!("  {}: {refusal}", verdict.name));
        }
    }
    if of.workers.len() > WORKERS_MAX {
        lines.push(format!(
            "  and {} more: dsbus explain {}",
            of.workers.len() - WORKERS_MAX,
            of.name
        ));
    }
    lines
}
