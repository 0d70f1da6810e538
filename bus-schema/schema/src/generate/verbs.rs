//! The verbs, with the names of their messages and what they do.

use crate::call::WorkerVerb;
use crate::command::Verb;

/// Names of the schemas of a command's request and answer.
pub fn messages(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Apply => ("apply", "applied"),
        Verb::Create => ("create", "applied"),
        Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Reload
        | Verb::Remove
        | Verb::Enable
        | Verb::Disable => ("act", "acted"),
        Verb::Status => ("ask", "instance-rows"),
        Verb::Workers => ("ask", "worker-rows"),
        Verb::Scale => ("scale", "applied"),
        Verb::Rollout => ("rollout-act", "rollout-rows"),
        Verb::Rollouts => ("ask", "rollout-rows"),
        Verb::History => ("ask", "revision-rows"),
        Verb::Explain => ("ask", "explanations"),
        Verb::Groups => ("ask", "group-rows"),
        Verb::Cordon | Verb::Uncordon | Verb::Drain | Verb::Undrain | Verb::Forget => {
            ("worker-act", "workers-acted")
        }
        Verb::Rebalance => ("rebalance", "planned-moves"),
        Verb::Signal => ("hand-signal", "signal-sent"),
        Verb::Stdin => ("hand-stdin", "stdin-taken"),
        Verb::Clear => ("hand-clear", "cleared"),
        Verb::Recover => ("recover", "recovered"),
    }
}

/// What a command does.
pub(super) fn about(verb: Verb) -> &'static str {
    match verb {
        Verb::Apply => {
            "Declares programs: all of them or, if anything is wrong with one, none. `dry_run` only says what would be done."
        }
        Verb::Create => "Declares one program that does not exist, or is stopped.",
        Verb::Start => "Wants instances to run; those that do are left alone.",
        Verb::Stop => "Wants instances stopped.",
        Verb::Restart => "Wants new children; `rolling`: one after the other, as `update` says.",
        Verb::Reload => {
            "A new child first, and the old one is stopped when that is RUNNING; or `reload_signal`."
        }
        Verb::Remove => "Stops programs and forgets their declarations.",
        Verb::Status => "Instances with their last known states.",
        Verb::Workers => "Workers: states, labels, capacity, facts.",
        Verb::Enable => "They may be started again.",
        Verb::Disable => "Stops them, and refuses to start them until they are enabled.",
        Verb::Scale => "Changes `numprocs`: a new revision.",
        Verb::Rollout => "Pauses, resumes, promotes or undoes rollouts (`step`).",
        Verb::Rollouts => "How far changes have got.",
        Verb::History => "What was declared, when and by whom.",
        Verb::Explain => "Why instances are where they are, or wait; each worker as they see it.",
        Verb::Groups => "Groups, and which of their members have failed.",
        Verb::Cordon => "Workers take no new instances.",
        Verb::Uncordon => "They take new ones again.",
        Verb::Drain => {
            "Workers give their instances away, one after the other, and take no new ones."
        }
        Verb::Undrain => "Workers take instances again, also after `cordon`.",
        Verb::Forget => "Lost workers are forgotten, with what waits for them.",
        Verb::Rebalance => "Spreads the load anew; `dry_run` only says what would be moved.",
        Verb::Signal => "Has a worker send a signal to the main process of an instance, once.",
        Verb::Stdin => "Has a worker write to the standard input of an instance.",
        Verb::Clear => "Has a worker empty the log files of an instance.",
        Verb::Recover => {
            "Rebuilds what the bus has lost from what workers have; `dry_run` only says what would be rebuilt."
        }
    }
}

/// Names of the schemas of a call's request and answer; an empty request has none.
pub fn call_messages(verb: WorkerVerb) -> (Option<&'static str>, &'static str) {
    match verb {
        WorkerVerb::Ping => (None, "pong"),
        WorkerVerb::Log | WorkerVerb::LogBulk => (Some("log-ask"), "log-part"),
        WorkerVerb::LogWindow => (Some("window-ask"), "log-window"),
        WorkerVerb::Clear => (Some("clear"), "cleared"),
        WorkerVerb::Usage => (Some("usage-ask"), "using"),
        WorkerVerb::Inventory => (Some("inventory-ask"), "inventory"),
        WorkerVerb::Signal => (Some("signal-ask"), "signal-sent"),
        WorkerVerb::Stdin => (Some("stdin-ask"), "stdin-taken"),
    }
}

/// What a call does.
pub(super) fn call_about(verb: WorkerVerb) -> &'static str {
    match verb {
        WorkerVerb::Ping => {
            "Who lives under this name. Answered only while the supervisor answers its agent."
        }
        WorkerVerb::Log => {
            "Output of an instance, at once: its last lines, or what follows a place that an earlier answer gave."
        }
        WorkerVerb::LogBulk => {
            "The same over a connection of its own, in larger parts; the answer may wait for output (`wait_ms`). Answered only for a while after a `log` that said it would be asked."
        }
        WorkerVerb::LogWindow => {
            "So many bytes of the log file that is written now, at an offset or before its end, and how long the file is."
        }
        WorkerVerb::Clear => "Empties the log files of an instance, and removes the rotated ones.",
        WorkerVerb::Usage => {
            "What instances use now: processor time and memory, measured when it is asked for."
        }
        WorkerVerb::Inventory => {
            "What the worker has, with the placements as they were told to it last: environments included, so only schedulers may ask."
        }
        WorkerVerb::Signal => {
            "Sends a signal to the main process of an instance, once, if the child that is meant still lives; told as `notice.SIGNALLED`."
        }
        WorkerVerb::Stdin => {
            "Writes to the standard input of a child (`stdin = true`), as much as its pipe takes now, or closes it."
        }
    }
}
