//! Why a command about goals cannot act; pure.

use dsbus_client::Refusal;
use dsbus_schema::command::{ARGUMENTS_BYTES_MAX, Verb, code};
use dsbus_schema::goal::Goal;

use super::super::Meant;
use super::{Decisive, Order};

/// Whether it begins something.
pub(super) fn starts(verb: Verb) -> bool {
    matches!(verb, Verb::Start | Verb::Restart)
}

/// Arguments are for a start, and are words that a process can be given.
pub(super) fn refuse_arguments(order: Order<'_>) -> Result<(), Refusal> {
    let Order { verb, arguments, .. } = order;
    let bytes: usize = arguments.iter().map(|word| word.len() + 1).sum();
    let text = match verb {
        _ if arguments.is_empty() => return Ok(()),
        Verb::Start | Verb::Restart if bytes > ARGUMENTS_BYTES_MAX => {
            format!("arguments have {bytes} bytes; a start takes {ARGUMENTS_BYTES_MAX}")
        }
        Verb::Start | Verb::Restart if arguments.iter().any(|word| word.contains('\0')) => {
            "arguments hold a NUL byte".to_owned()
        }
        Verb::Start | Verb::Restart => return Ok(()),
        _ => {
            let verb = verb.name();
            format!("arguments mean something for start and restart only, not for {verb}")
        }
    };
    Err(Refusal::new(code::BAD_REQUEST, text))
}

/// Why a command cannot act on this.
pub(super) fn refusal(meant: &Meant, order: Order<'_>, goals: &Decisive) -> Option<Refusal> {
    let is = |goal: &Option<Goal>| goal.as_ref().is_some_and(|goal| goal.disabled);
    let again = |goal: &Option<Goal>| {
        goal.as_ref().is_some_and(|goal| goal.commands.has_acted(order.command))
    };
    // Enabling one of a program that is disabled would change nothing.
    let asks = starts(order.verb) || (order.verb == Verb::Enable && is(&goals.all));
    if !asks || again(&goals.own) {
        return None;
    }
    let program = &meant.program.name;
    let name = match meant.index {
        _ if is(&goals.all) => program.to_string(),
        Some(index) if is(&goals.own) => format!("{program}:{index}"),
        None if is(&goals.own) => program.to_string(),
        _ => return None,
    };
    let text = format!("{name} is disabled: dsbus enable {name} lets it be started again");
    Some(Refusal::new(code::CONFLICT, text))
}

/// A reload without a signal runs two children for a moment, which an exclusive instance never has.
pub(super) fn refuse_two_copies(meant: &[Meant]) -> Result<(), Refusal> {
    let two = |m: &&Meant| m.program.spec.exclusive && m.program.spec.reload_signal.is_none();
    let Some(Meant { program, .. }) = meant.iter().find(two) else { return Ok(()) };
    let name = &program.name;
    let text = format!(
        "{name} is exclusive, and a reload would run two copies of it for a moment: \
         set reload_signal, or restart {name}"
    );
    Err(Refusal::new(code::CONFLICT, text))
}
