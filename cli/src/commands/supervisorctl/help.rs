//! What `help` says: Supervisor 4.3.0's words.

use std::io;

use crate::output;

/// Tells of an action, or of all.
///
/// # Errors
/// When nobody reads it.
pub(super) fn show(action: &str) -> io::Result<()> {
    match action {
        "" => output::line(ACTIONS),
        "help" => output::line(
            "help\t\tPrint a list of available actions\nhelp <action>\tPrint help for <action>",
        ),
        action => match TOPICS.iter().find(|(name, _)| *name == action) {
            Some((_, text)) => output::line(text),
            None => output::line(format_args!("*** No help on {action}")),
        },
    }
}

/// `help` alone.
const ACTIONS: &str = concat!(
    "\n",
    "default commands (type help <topic>):\n",
    "=====================================\n",
    "add    exit      open  reload  restart   start   tail   \n",
    "avail  fg        pid   remove  shutdown  status  update \n",
    "clear  maintail  quit  reread  signal    stop    version\n",
    "",
);

/// `help ACTION`.
const TOPICS: [(&str, &str); 22] = [
    ("add", "add <name> [...]\tActivates any updates in config for process/group"),
    ("avail", "avail\t\t\tDisplay all configured processes"),
    (
        "clear",
        concat!(
            "clear <name>\t\tClear a process' log files.\n",
            "clear <name> <name>\tClear multiple process' log files\n",
            "clear all\t\tClear all process' log files",
        ),
    ),
    ("exit", "exit\tExit the supervisor shell."),
    (
        "fg",
        concat!("fg <process>\tConnect to a process in foreground mode\n", "\t\tCtrl-C to exit",),
    ),
    (
        "help",
        concat!(
            "help\t\tPrint a list of available actions\n",
            "help <action>\tPrint help for <action>",
        ),
    ),
    (
        "maintail",
        concat!(
            "maintail -f \tContinuous tail of supervisor main log file (Ctrl-C to exit)\n",
            "maintail -100\tlast 100 *bytes* of supervisord main log file\n",
            "maintail\tlast 1600 *bytes* of supervisor main log file\n",
            "",
        ),
    ),
    (
        "open",
        concat!(
            "open <url>\tConnect to a remote supervisord process.\n",
            "\t\t(for UNIX domain socket, use unix:///socket/path)",
        ),
    ),
    (
        "pid",
        concat!(
            "pid\t\t\tGet the PID of supervisord.\n",
            "pid <name>\t\tGet the PID of a single child process by name.\n",
            "pid all\t\t\tGet the PID of every child process, one per line.",
        ),
    ),
    ("quit", "quit\tExit the supervisor shell."),
    ("reload", "reload \t\tRestart the remote supervisord."),
    ("remove", "remove <name> [...]\tRemoves process/group from active config"),
    ("reread", "reread \t\t\tReload the daemon's configuration files without add/remove"),
    (
        "restart",
        concat!(
            "restart <name>\t\tRestart a process\n",
            "restart <gname>:*\tRestart all processes in a group\n",
            "restart <name> <name>\tRestart multiple processes or groups\n",
            "restart all\t\tRestart all processes\n",
            "Note: restart does not reread config files. For that, see reread and update.",
        ),
    ),
    ("shutdown", "shutdown \tShut the remote supervisord down."),
    (
        "signal",
        concat!(
            "signal <signal name> <name>\t\tSignal a process\n",
            "signal <signal name> <gname>:*\t\tSignal all processes in a group\n",
            "signal <signal name> <name> <name>\tSignal multiple processes or groups\n",
            "signal <signal name> all\t\tSignal all processes",
        ),
    ),
    (
        "start",
        concat!(
            "start <name>\t\tStart a process\n",
            "start <gname>:*\t\tStart all processes in a group\n",
            "start <name> <name>\tStart multiple processes or groups\n",
            "start all\t\tStart all processes",
        ),
    ),
    (
        "status",
        concat!(
            "status <name>\t\tGet status for a single process\n",
            "status <gname>:*\tGet status for all processes in a group\n",
            "status <name> <name>\tGet status for multiple named processes\n",
            "status\t\t\tGet all process status info",
        ),
    ),
    (
        "stop",
        concat!(
            "stop <name>\t\tStop a process\n",
            "stop <gname>:*\t\tStop all processes in a group\n",
            "stop <name> <name>\tStop multiple processes or groups\n",
            "stop all\t\tStop all processes",
        ),
    ),
    (
        "tail",
        concat!(
            "tail [-f] <name> [stdout|stderr] (default stdout)\n",
            "Ex:\n",
            "tail -f <name>\t\tContinuous tail of named process stdout\n",
            "\t\t\tCtrl-C to exit.\n",
            "tail -100 <name>\tlast 100 *bytes* of process stdout\n",
            "tail <name> stderr\tlast 1600 *bytes* of process stderr",
        ),
    ),
    (
        "update",
        concat!(
            "update\t\t\tReload config and add/remove as necessary, and will restart affected programs\n",
            "update all\t\tReload config and add/remove as necessary, and will restart affected programs\n",
            "update <gname> [...]\tUpdate specific groups",
        ),
    ),
    ("version", "version\t\t\tShow the version of the remote supervisord process"),
];
