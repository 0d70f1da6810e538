//! Lines that are typed, with history and completion; or that come from elsewhere.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};

use super::completing::Completing;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Lines that are kept: some weeks of work.
const HISTORY_MAX: usize = 2_000;

/// Where lines come from.
pub(in crate::commands) struct Lines {
    /// `None` where nobody types.
    editor: Option<Editor<Completing, FileHistory>>,
    history: Option<PathBuf>,
}

impl Lines {
    /// From standard input. `name` is that of the history file, if none is given.
    pub(in crate::commands) fn open(config: &Config, history: Option<&Path>, name: &str) -> Lines {
        if !io::stdin().is_terminal() {
            return Lines { editor: None, history: None };
        }
        let history = history.map(Path::to_owned).or_else(|| kept_in(config, name));
        let settings = rustyline::Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(HISTORY_MAX)
            .map(rustyline::config::Builder::build);
        let editor = settings.and_then(Editor::with_config);
        let Ok(mut editor) = editor else {
            // A terminal that cannot be edited on is read as it is.
            return Lines { editor: None, history: None };
        };
        editor.set_helper((name == "shell").then_some(Completing));
        if let Some(path) = &history {
            // The first time there is none.
            drop(editor.load_history(path));
        }
        Lines { editor: Some(editor), history }
    }

    /// Whether a person types them.
    pub(in crate::commands) fn are_typed(&self) -> bool {
        self.editor.is_some()
    }

    /// The next line, `None` at the end. `always` shows the prompt even where nobody types.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::commands) fn read(
        &mut self,
        prompt: &str,
        always: bool,
    ) -> Result<Option<String>, Failure> {
        let Some(editor) = &mut self.editor else {
            if always {
                output::bytes(prompt.as_bytes())?;
            }
            return from_elsewhere();
        };
        loop {
            match editor.readline(prompt) {
                Ok(line) => {
                    if !line.trim().is_empty() && editor.add_history_entry(&line).unwrap_or(false) {
                        keep(editor, self.history.as_deref());
                    }
                    return Ok(Some(line));
                }
                // Ctrl-C takes back what was typed.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(e) => return Err(Failure::failed(format!("failed to read a line: {e}"))),
            }
        }
    }

    /// An answer to a question, `None` where there is none; no part of the history.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::commands) fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        let Some(editor) = &mut self.editor else { return Ok(None) };
        match editor.readline(question) {
            Ok(answer) => Ok(Some(answer)),
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(None),
            Err(e) => Err(Failure::failed(format!("failed to read an answer: {e}"))),
        }
    }
}

fn from_elsewhere() -> Result<Option<String>, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Where lines are kept: `$XDG_STATE_HOME/dsbus`, else `~/.local/state/dsbus`.
fn kept_in(config: &Config, name: &str) -> Option<PathBuf> {
    let around = &config.around;
    let state = around.variable("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(Path::new(around.variable("HOME")?).join(".local/state"));
    let path = state.filter(|path| path.is_absolute()).or_else(home)?;
    Some(path.join("dsbus").join(format!("{name}_history")))
}

/// Writes the history, readable for its owner only. One that cannot be written is not kept.
fn keep(editor: &mut Editor<Completing, FileHistory>, path: Option<&Path>) {
    let Some(path) = path else { return };
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        drop(DirBuilder::new().recursive(true).mode(0o700).create(directory));
    }
    if fs::metadata(path).is_err() {
        drop(editor.save_history(path));
    } else {
        drop(editor.append_history(path));
    }
}
