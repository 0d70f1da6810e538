//! Why no process could be started, of what a worker says about it ([`super::Status::spawnerr`]).

/// Why no process could be started.
#[derive(Debug, PartialEq, Eq)]
pub enum Unstarted<'a> {
    /// There is no such command: its path, or its word where it was looked for in PATH.
    NoFile(&'a str),
    /// There is, and what it needs to run is not there.
    NoInterpreter,
    /// It is nothing that can be executed, which is known before it is tried.
    NotExecutable,
    /// The kernel does not execute it.
    Refused,
    /// It is not about the command.
    Other,
}

impl Unstarted<'_> {
    /// What these words of a worker mean.
    pub fn of(why: &str) -> Unstarted<'_> {
        if let Some(rest) = why.strip_prefix("no file ") {
            let word =
                rest.split_once(" is in any directory of PATH").map_or(rest, |(word, _)| word);
            return Unstarted::NoFile(word);
        }
        // What else may be missing is named with a word before it: directory, user, env_file.
        if !why.starts_with('/') {
            return Unstarted::Other;
        }
        if why.ends_with(" which does not exist") {
            return Unstarted::NoInterpreter;
        }
        if let Some(path) = why.strip_suffix(" does not exist") {
            return Unstarted::NoFile(path);
        }
        let says = |words: &[&str]| words.iter().any(|words| why.contains(words));
        if says(&[" is not executable", " cannot be executed"]) {
            Unstarted::NotExecutable
        } else if says(&[" may not be executed", " is no program"]) {
            Unstarted::Refused
        } else {
            Unstarted::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_command_is_told_from_the_rest() {
        for (why, meaning) in [
            ("no file x is in any directory of PATH (/bin)", Unstarted::NoFile("x")),
            ("/bin/x does not exist", Unstarted::NoFile("/bin/x")),
            ("/bin/x needs the interpreter /y, which does not exist", Unstarted::NoInterpreter),
            (
                "/bin/x needs a loader (ELF interpreter) which does not exist",
                Unstarted::NoInterpreter,
            ),
            ("/etc/passwd is not executable: it has mode 644", Unstarted::NotExecutable),
            ("/etc is a directory, and cannot be executed", Unstarted::NotExecutable),
            ("/x may not be executed by ann, or a directory on the way", Unstarted::Refused),
            ("/x is no program: it has no #! line", Unstarted::Refused),
            ("directory /x does not exist", Unstarted::Other),
            ("env_file /x: does not exist", Unstarted::Other),
            ("user ann does not exist on this machine", Unstarted::Other),
            ("too many open files", Unstarted::Other),
        ] {
            assert_eq!(Unstarted::of(why), meaning, "{why}");
        }
    }
}
