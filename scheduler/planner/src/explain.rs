//! Why an instance is where it is, and what each worker is to it.

use dsbus_schema::command::{Explanation, WorkerVerdict};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::state::State;

use crate::ahead::{self, AHEAD};
use crate::fit::{Ask, Deltas};
use crate::leave;
use crate::place;
use crate::plan::Scene;
use crate::rolling::Rolling;
use crate::rows;
use crate::view::{Now, Placed, View};

/// Explains one instance; `None` when its program is unknown.
pub fn explain(view: &View, name: &InstanceId, now: Now) -> Option<Explanation> {
    let entry = view.programs.get(&name.program)?;
    let program = &entry.program.as_ref()?.value;
    let row = rows::instance(view, name)?;
    let scene = Scene { view, entry, program, now };
    let rolling = Rolling::new(&scene);
    let (_, spec) = rolling.fresh(name.index);
    let past = place::past(&scene, name.index);
    let ask = Ask::new(view, name, &spec, past);
    let deltas = Deltas::default();
    let spread = ask.spread(&deltas);
    let mut workers: Vec<_> = view
        .hosts
        .iter()
        .filter(|(_, host)| host.record.is_some())
        .map(|(worker, host)| {
            let refusal = ask.refusal(host, &deltas);
            let score = ask.score(host, &deltas, &spread);
            let refuses = host.record.as_ref().and_then(|seen| seen.value.refuses.as_ref());
            let refuses = refuses.map(|what| format!("; it refuses {what}")).unwrap_or_default();
            let verdict = WorkerVerdict {
                name: worker.clone(),
                state: host.state,
                score: refusal.is_none().then(|| ask.words(score) + &refuses),
                refusal: refusal.map(|refusal| refusal.to_string()),
            };
            (verdict.refusal.is_some(), score, verdict)
        })
        .collect();
    workers.sort_by(|a, b| (a.0, a.1, &a.2.name).cmp(&(b.0, b.1, &b.2.name)));
    let because = match view.placed(name) {
        Some(placed) => where_it_is(&scene, name, placed, &rolling, row.reason.as_deref()),
        None if !row.wanted.run => why_not_wanted(&scene, name),
        None => place::before_start(&scene, name.index)
            .map(|wait| wait.reason)
            .or(row.reason)
            .unwrap_or_else(|| "it is about to be placed".to_owned()),
    };
    Some(Explanation {
        name: name.clone(),
        state: row.state,
        worker: row.worker,
        because,
        workers: workers.into_iter().map(|(_, _, verdict)| verdict).collect(),
    })
}

fn where_it_is(
    scene: &Scene<'_>,
    name: &InstanceId,
    placed: &Placed,
    rolling: &Rolling<'_>,
    told: Option<&str>,
) -> String {
    let Scene { view, program, now, .. } = *scene;
    let reason = placed.reason.as_deref().unwrap_or("a scheduler put it there");
    let mut because = match &placed.from {
        Some(from) => format!("it came from {from}: {reason}"),
        None => reason.to_owned(),
    };
    let Some(instance) = view.instance(name) else { return because };
    let wanted = view.wanted(program, name.index);
    let (_, spec) = rolling.next(name.index, placed);
    let mut add = |more: String| because = format!("{because}; {more}");
    if ahead::is_held_back(view, name) {
        add(AHEAD.to_owned());
    } else if view.is_cut_off(placed) {
        add(told.unwrap_or("its worker is lost").to_owned());
    } else if let Some(leave) = leave::why(scene, name.index, instance, placed, wanted, &spec) {
        let ask = Ask::new(view, name, &spec, place::past(scene, name.index));
        add(match ask.choose(Some(&placed.worker), &Deltas::default()) {
            Ok(_) => format!("it leaves when its turn comes: {}", leave.reason),
            Err(why) => format!("it should leave ({}), but {why}", leave.reason),
        });
    } else if wanted.run && !placed.wanted.run {
        let wait = crate::order::before_start(view, program, now);
        add(wait.map_or_else(|| "it is about to be started".to_owned(), |wait| wait.reason));
    } else if !wanted.run && placed.wanted.run {
        let wait = crate::order::before_stop(view, &name.program, placed.spec.priority);
        add(wait.unwrap_or_else(|| "it is about to be stopped".to_owned()));
    } else if let Some(status) = instance.status(placed).filter(|s| s.state != State::Running)
        && let Some(why) = &status.reason
    {
        add(why.clone());
    }
    if let Some(refuses) = view.worker(&placed.worker).and_then(|record| record.refuses.as_ref()) {
        because = format!("{because}; {} refuses {refuses}", placed.worker);
    }
    because
}

fn why_not_wanted(scene: &Scene<'_>, name: &InstanceId) -> String {
    let program = scene.program;
    if program.removing {
        return "its program is being removed".to_owned();
    }
    if scene.view.is_disabled(&name.program, name.index) {
        return "it is disabled".to_owned();
    }
    match &program.spec.schedule {
        Some(schedule) => rows::waits(schedule),
        None => "nobody wants it to run: it was stopped, or never started".to_owned(),
    }
}
