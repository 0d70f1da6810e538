//! distsuper's codes, and why something was not done.

use serde_json::Value;

/// distsuper's codes, of which these are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Client,
    Value,
    Missing,
    Server,
    Exists,
    Start,
    Stop,
    NoProgram,
    Started,
    Stopped,
    Restart,
    Create,
}

impl Code {
    pub(super) fn number(self) -> (u16, &'static str) {
        match self {
            Code::Client => (400, "bad request"),
            Code::Value => (412, "a parameter has a bad value"),
            Code::Missing => (413, "a parameter is missing"),
            Code::Server => (500, "nobody answers"),
            Code::Exists => (514, "the program exists"),
            Code::Start => (523, "it could not be started"),
            Code::Stop => (524, "it could not be stopped"),
            Code::NoProgram => (525, "there is no such program"),
            Code::Started => (526, "it runs already"),
            Code::Stopped => (527, "it is stopped already"),
            Code::Restart => (529, "it could not be restarted"),
            Code::Create => (530, "it could not be created"),
        }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) why: String,
    pub(super) data: Value,
}

impl Fault {
    pub(super) fn new(code: Code, why: impl Into<String>) -> Fault {
        Fault { code, why: why.into(), data: Value::Null }
    }

    pub(super) fn with(self, data: &Value) -> Fault {
        Fault { data: data.clone(), ..self }
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> u16 {
        self.code.number().0
    }
}
