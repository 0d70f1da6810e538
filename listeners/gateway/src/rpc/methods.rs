//! The methods there are: what they take, what they give back, and who may call them. Pure.

/// A parameter: its type, its name, and what it is.
type Param = (&'static str, &'static str, &'static str);

/// A method.
#[derive(Debug)]
pub(super) struct Method {
    /// `supervisor.getState`.
    pub(super) name: &'static str,
    about: &'static str,
    params: &'static [Param],
    /// So many of the last parameters may be missing.
    optional: usize,
    /// The type of what it gives back, and what that is.
    returns: (&'static str, &'static str),
    /// It changes something: not for viewers.
    pub(super) acts: bool,
}

impl Method {
    /// How many arguments it takes.
    pub(super) fn takes(&self) -> std::ops::RangeInclusive<usize> {
        self.params.len() - self.optional..=self.params.len()
    }

    /// What `system.methodHelp` answers: a sentence, and the tags of Supervisor's documentation.
    pub(super) fn help(&self) -> String {
        let params = self.params.iter();
        let params = params.map(|(of, name, about)| format!("@param {of} {name} {about}\n"));
        let (of, about) = self.returns;
        format!("{}\n\n{}@return {of} {about}\n", self.about, params.collect::<String>())
    }

    /// What `system.methodSignature` answers: the type of the result, and those of the parameters.
    pub(super) fn signature(&self) -> Vec<&'static str> {
        let params = self.params.iter().map(|(of, _, _)| *of);
        std::iter::once(self.returns.0).chain(params).collect()
    }
}

/// The method of this name.
pub(super) fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

const NAME: Param = ("string", "name", "name of the process, or group:name");
const GROUP: Param = ("string", "name", "name of the group");
const SIGNAL: Param = ("string", "signal", "the signal, as HUP, SIGHUP or 1");
const WAIT_START: Param = ("boolean", "wait", "answer when it is RUNNING, or has failed");
const WAIT_STOP: Param = ("boolean", "wait", "answer when it has stopped");
const OFFSET: Param = ("int", "offset", "where to begin; below zero: so many bytes before the end");
const LENGTH: Param = ("int", "length", "how many bytes; 0 is all that follow");
const LAST: Param = ("int", "length", "how many bytes from the end at most");
const FROM: Param = ("int", "offset", "where the last answer ended");
const TRUE: (&str, &str) = ("boolean", "result always true");
const STATUSES: (&str, &str) =
    ("array", "result a struct name, group, status, description of each");
const BYTES: (&str, &str) = ("string", "result the bytes");
const TAIL: (&str, &str) =
    ("array", "result the bytes, the size of the log, whether some are left out");

const fn asks(
    name: &'static str,
    about: &'static str,
    params: &'static [Param],
    returns: (&'static str, &'static str),
) -> Method {
    Method { name, about, params, optional: 0, returns, acts: false }
}

const fn acts(
    name: &'static str,
    about: &'static str,
    params: &'static [Param],
    optional: usize,
    returns: (&'static str, &'static str),
) -> Method {
    Method { name, about, params, optional, returns, acts: true }
}

/// All of them, in the order of their names.
pub(super) const METHODS: &[Method] = &[
    acts(
        "supervisor.addProcessGroup",
        "Lets the disabled programs of a group run again.",
        &[GROUP],
        0,
        TRUE,
    ),
    acts("supervisor.clearAllProcessLogs", "Empties the logs of all processes.", &[], 0, STATUSES),
    acts(
        "supervisor.clearLog",
        "Empties the main log, where there is one that can be emptied.",
        &[],
        0,
        TRUE,
    ),
    acts("supervisor.clearProcessLog", CLEAR, &[NAME], 0, TRUE),
    acts("supervisor.clearProcessLogs", CLEAR, &[NAME], 0, TRUE),
    asks("supervisor.getAPIVersion", API_VERSION, &[], ("string", "version")),
    asks(
        "supervisor.getAllConfigInfo",
        "Says what is declared of each process.",
        &[],
        ("array", "result a struct of each process"),
    ),
    asks(
        "supervisor.getAllProcessInfo",
        "Says how each process stands.",
        &[],
        ("array", "result a struct of each process"),
    ),
    asks(
        "supervisor.getIdentification",
        "Says who this is: the name of the fleet, or of the worker.",
        &[],
        ("string", "identifier"),
    ),
    asks(
        "supervisor.getPID",
        "Says the process id of the gateway, or of the worker's supervisor.",
        &[],
        ("int", "pid"),
    ),
    asks("supervisor.getProcessInfo", "Says how a process stands.", &[NAME], ("struct", "result")),
    asks(
        "supervisor.getState",
        "Says whether a scheduler answers: RUNNING, else FATAL.",
        &[],
        ("struct", "statecode and statename"),
    ),
    asks(
        "supervisor.getSupervisorVersion",
        "Says whose manners these are: the version of Supervisor that is answered as.",
        &[],
        ("string", "version"),
    ),
    asks("supervisor.getVersion", API_VERSION, &[], ("string", "version")),
    asks("supervisor.readLog", READ_MAIN, &[OFFSET, LENGTH], BYTES),
    asks("supervisor.readMainLog", READ_MAIN, &[OFFSET, LENGTH], BYTES),
    asks("supervisor.readProcessLog", READ, &[NAME, OFFSET, LENGTH], BYTES),
    asks(
        "supervisor.readProcessStderrLog",
        "Reads the log of a process's standard error.",
        &[NAME, OFFSET, LENGTH],
        BYTES,
    ),
    asks("supervisor.readProcessStdoutLog", READ, &[NAME, OFFSET, LENGTH], BYTES),
    acts(
        "supervisor.reloadConfig",
        "Says that no file has changed: a fleet reads none by itself.",
        &[],
        0,
        ("array", "result [[added, changed, removed]]"),
    ),
    acts(
        "supervisor.removeProcessGroup",
        "Removes the programs of a group that does not run.",
        &[GROUP],
        0,
        TRUE,
    ),
    acts("supervisor.restart", "Fails: a fleet has no supervisord to restart.", &[], 0, TRUE),
    acts(
        "supervisor.sendProcessStdin",
        "Writes to the standard input of a process.",
        &[NAME, ("string", "chars", "what to write")],
        0,
        TRUE,
    ),
    acts(
        "supervisor.sendRemoteCommEvent",
        "Tells an event, which listeners hear as REMOTE_COMMUNICATION.",
        &[("string", "type", "its type"), ("string", "data", "its text")],
        0,
        ("boolean", ""),
    ),
    acts("supervisor.shutdown", "Fails: a fleet has no supervisord to shut down.", &[], 0, TRUE),
    acts(
        "supervisor.signalAllProcesses",
        "Sends a signal to every process.",
        &[SIGNAL],
        0,
        STATUSES,
    ),
    acts(
        "supervisor.signalProcess",
        "Sends a signal to a process.",
        &[NAME, SIGNAL],
        0,
        ("boolean", ""),
    ),
    acts(
        "supervisor.signalProcessGroup",
        "Sends a signal to the processes of a group.",
        &[GROUP, SIGNAL],
        0,
        ("array", ""),
    ),
    acts(
        "supervisor.startAllProcesses",
        "Starts every process that does not run.",
        &[WAIT_START],
        1,
        STATUSES,
    ),
    acts("supervisor.startProcess", "Starts a process.", &[NAME, WAIT_START], 1, TRUE),
    acts(
        "supervisor.startProcessGroup",
        "Starts the processes of a group that do not run.",
        &[GROUP, WAIT_START],
        1,
        STATUSES,
    ),
    acts(
        "supervisor.stopAllProcesses",
        "Stops every process that runs.",
        &[WAIT_STOP],
        1,
        STATUSES,
    ),
    acts("supervisor.stopProcess", "Stops a process.", &[NAME, WAIT_STOP], 1, TRUE),
    acts(
        "supervisor.stopProcessGroup",
        "Stops the processes of a group that run.",
        &[GROUP, WAIT_STOP],
        1,
        STATUSES,
    ),
    asks("supervisor.tailProcessLog", TAIL_STDOUT, &[NAME, FROM, LAST], TAIL),
    asks(
        "supervisor.tailProcessStderrLog",
        "Reads the end of the log of a process's standard error.",
        &[NAME, FROM, LAST],
        TAIL,
    ),
    asks("supervisor.tailProcessStdoutLog", TAIL_STDOUT, &[NAME, FROM, LAST], TAIL),
    asks("system.listMethods", "Names all methods.", &[], ("array", "result the names")),
    asks(
        "system.methodHelp",
        "Says what a method does.",
        &[("string", "name", "name of the method")],
        ("string", "result its documentation"),
    ),
    asks(
        "system.methodSignature",
        "Says the types of what a method gives back and takes.",
        &[("string", "name", "name of the method")],
        ("array", "result the types"),
    ),
    asks(
        "system.multicall",
        "Makes calls, one after the other.",
        &[("array", "calls", "structs of methodName and params")],
        ("array", "result what each gives back, or a struct faultCode, faultString"),
    ),
];

const API_VERSION: &str = "Says the version of this interface.";
const CLEAR: &str = "Empties the logs of a process.";
const READ: &str = "Reads the log of a process's standard output.";
const READ_MAIN: &str = "Reads the main log: a worker's own; a fleet has none.";
const TAIL_STDOUT: &str = "Reads the end of the log of a process's standard output.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_there_once_and_in_order() {
        let names: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
        let count = |of: &str| names.iter().filter(|name| name.starts_with(of)).count();
        assert_eq!((count("supervisor."), count("system."), names.len()), (37, 4, 41));
        assert!(names.is_sorted());
        assert_eq!(method("supervisor.startProcess").map(Method::takes), Some(1..=2));
        let help = method("supervisor.startProcess").unwrap().help();
        assert!(help.contains("\n@param boolean wait answer when"), "{help}");
        assert!(help.contains("\n@return boolean result"), "{help}");
    }
}
