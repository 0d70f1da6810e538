//! A program that is an event listener of Supervisor's kind: its child is a bridge, which starts the
//! program itself, and speaks with it on its standard input and output.

use std::time::Duration;

use dsbus_schema::program::{EventListener, ProgramSpec};

use super::Who;

/// Of the time that a stop may take, the bridge leaves a tenth to itself: what it has asked to end
/// is killed before the bridge is.
const STOP_SHARE: f64 = 0.9;

/// The words of the bridge for a listener of these words.
///
/// # Errors
/// When this worker has no bridge.
pub(super) fn bridge(
    spec: &ProgramSpec,
    listener: &EventListener,
    who: &Who<'_>,
    argv: Vec<String>,
) -> Result<Vec<String>, String> {
    let Some(bridge) = &who.settings.bridge else {
        return Err("this worker runs no event listeners".to_owned());
    };
    let names: Vec<&str> = listener.events.iter().map(|name| name.as_str()).collect();
    let span = |span: Duration| format!("{}ms", span.as_millis());
    let mut words = bridge.command.clone();
    words.extend([
        format!("--supervised={}", who.id),
        format!("--name={}", who.name.program),
        format!("--events={}", names.join(",")),
        format!("--startsecs={}", span(spec.startsecs.0)),
        format!("--stopwaitsecs={}", span(spec.stopwaitsecs.0.mul_f64(STOP_SHARE))),
    ]);
    // Several share the events; a single one has them in their order, whatever becomes of it.
    words.extend((spec.numprocs > 1 || spec.system).then(|| "--share".to_owned()));
    words.extend(listener.buffer_size.map(|size| format!("--buffer-size={size}")));
    words.push("--".to_owned());
    words.extend(argv);
    Ok(words)
}
