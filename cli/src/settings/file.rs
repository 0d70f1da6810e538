//! Files of settings: `dsbus.toml` of this directory or of the nearest parent that has one, and the
//! person's own, and the machine's; beside them the address that `dsbus dev` writes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::{Key, Layer, Origin, Wrong};
use crate::config::{Surroundings, URL_FILE};
use crate::failure::Failure;
use crate::file::{Diagnostic, Source, did_you_mean, key_span, text_of, value, value_span, whole};

/// Settings of a directory.
pub(crate) const FILE: &str = "dsbus.toml";
/// Names that file outright; then none is looked for.
pub(super) const VARIABLE: &str = "DSBUS_CONFIG";
/// Settings of a person, below the directory of his settings.
const HOME_FILE: &str = "dsbus/config.toml";
/// What stands in files of programs.
const SECTIONS: [&str; 6] =
    ["program", "eventlistener", "group", "defaults", "template", "include"];

/// What all files say, the nearest first.
///
/// # Errors
/// When one has a mistake, cannot be read, or is somebody else's.
pub(crate) fn all(around: &Surroundings) -> Result<Vec<Layer>, Wrong> {
    let mut layers = Vec::new();
    let url = around.upward(URL_FILE);
    let named = around.variable(VARIABLE).map(|path| around.directory.join(path));
    let trusted = named.is_some();
    let file = named.or_else(|| around.upward(FILE));
    let depth = |path: &Path, below: usize| path.components().count() - below;
    // Of two in one directory the fleet that somebody started there is nearer.
    let dev_first = match (&url, &file) {
        (Some(url), Some(file)) => depth(url, 1) >= depth(file, 0),
        (_, _) => true,
    };
    let mut dev = url.map(|path| of_dev(&path, around)).transpose()?;
    if dev_first {
        layers.extend(dev.take());
    }
    if let Some(path) = file {
        if !trusted {
            must_be_ours(&path, around)?;
        }
        layers.push(read(&path, around)?);
    }
    layers.extend(dev);
    if let Some(path) = home(around).map(|home| home.join(HOME_FILE)).filter(|path| path.exists()) {
        layers.push(read(&path, around)?);
    }
    // Whoever named a file wants that one. Where the machine's may not be read, it is not for us.
    let machine = around.machine.as_deref().filter(|_| !trusted);
    if let Some(path) = machine.filter(|path| std::fs::File::open(path).is_ok()) {
        layers.push(Layer { machine: true, ..read(path, around)? });
    }
    Ok(layers)
}

/// Where a person's settings are: `XDG_CONFIG_HOME`, or `~/.config`.
pub(crate) fn home(around: &Surroundings) -> Option<PathBuf> {
    let set = around.variable("XDG_CONFIG_HOME").map(PathBuf::from);
    set.or_else(|| around.variable("HOME").map(|home| Path::new(home).join(".config")))
}

/// The address that `dsbus dev` wrote.
fn of_dev(path: &Path, around: &Surroundings) -> Result<Layer, Wrong> {
    must_be_ours(path, around)?;
    let text = text_of(path).map_err(|why| Failure::failed(format!("{} {why}", path.display())))?;
    let mut layer = Layer::default();
    let origin = Origin::Dev(Origin::nearer(path, &around.directory));
    layer.say(Key::Nats, text.trim(), origin);
    Ok(layer)
}

/// Whoever may write above here could else choose the bus: in `/tmp` that is everybody.
fn must_be_ours(path: &Path, around: &Surroundings) -> Result<(), Wrong> {
    let owner = match std::fs::metadata(path) {
        Ok(metadata) => metadata.uid(),
        Err(e) => return Err(Failure::failed(format!("{}: {e}", path.display())).into()),
    };
    let us = nix::unistd::geteuid().as_raw();
    let sudo = around.variable("SUDO_UID").and_then(|uid| uid.parse().ok());
    if ours(owner, us, sudo) {
        return Ok(());
    }
    let said = format!(
        "{} belongs to user {owner}, and could lead to a bus of his: it is not used",
        path.display()
    );
    let hint = format!(
        "if he is to be trusted, name the file: {VARIABLE}={}; or go to another directory",
        path.display()
    );
    Err(Failure::usage(said).hint(hint).into())
}

/// Whether a file of this owner is to be trusted by us; root's always is, and behind `sudo` that of
/// the person who called it.
pub(super) fn ours(owner: u32, us: u32, sudo: Option<u32>) -> bool {
    owner == us || owner == 0 || (us == 0 && sudo == Some(owner))
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
fn read(path: &Path, around: &Surroundings) -> Result<Layer, Wrong> {
    let name = Origin::nearer(path, &around.directory);
    let shown = name.display().to_string();
    let text = text_of(path).map_err(|why| Wrong::File(vec![Diagnostic::whole(&shown, why)]))?;
    let here = path.parent().unwrap_or(Path::new("/"));
    let source = Source { name: &shown, text: &text };
    parse(&source, &name, here, around).map_err(Wrong::File)
}

/// Reads the text of a file that lies in `here`.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn parse(
    source: &Source<'_>,
    path: &Path,
    here: &Path,
    around: &Surroundings,
) -> Result<Layer, Vec<Diagnostic>> {
    let document = Document::parse(source.text).map_err(|e| {
        let why = format!("not valid TOML: {}", e.message().trim());
        vec![Diagnostic::at(source, e.span().unwrap_or(0..0), why)]
    })?;
    let (mut layer, mut wrong) = (Layer::default(), Vec::new());
    let top = document.as_table();
    for (name, item) in top {
        let Some(key) = Key::parse(name) else {
            wrong.push(unknown(source, top, name, item));
            continue;
        };
        let at = value_span(top, name, item);
        let text = text(item).and_then(|text| match key.check(&text) {
            Ok(()) => Ok(text),
            Err(why) => Err(why),
        });
        match text {
            Err(why) => wrong.push(Diagnostic::at(source, at, why).key(name)),
            Ok(text) => {
                let text = if key.is_path() {
                    whole(text.as_ref(), here, around).display().to_string()
                } else {
                    text
                };
                let line = source.place(at).line;
                layer.say(key, text, Origin::File(path.to_owned(), line));
            }
        }
    }
    if let (Some(_), Some(item)) = (layer.get(Key::Nats), top.get(Key::Context.name())) {
        let at = value_span(top, Key::Context.name(), item);
        let why = "nats names a bus, too; a file names one";
        wrong.push(Diagnostic::at(source, at, why).key(Key::Context.name()));
    }
    wrong.sort_by_key(Diagnostic::position);
    if wrong.is_empty() { Ok(layer) } else { Err(wrong) }
}

/// A value as text: a list is one with commas.
fn text(item: &Item) -> Result<String, String> {
    let said = match value::json(item) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(Value::Bool(truth)) => Some(truth.to_string()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join(","))
        }
        Some(Value::String(_) | Value::Null | Value::Object(_)) | None => None,
    };
    said.ok_or_else(|| "expected a text that is not empty".to_owned())
}

fn unknown(source: &Source<'_>, top: &dyn TableLike, name: &str, item: &Item) -> Diagnostic {
    let at = key_span(top, name, item);
    if SECTIONS.contains(&name) {
        let why = "this is a file of settings, and programs are declared in files of their own";
        let hint = "move it to another file, and give that to dsbus apply";
        return Diagnostic::at(source, at, why).key(name).hint(Some(hint.to_owned()));
    }
    let known = Key::ALL.map(Key::name);
    let hint =
        did_you_mean(name, known).unwrap_or_else(|| format!("known are {}", known.join(", ")));
    Diagnostic::at(source, at, "unknown key").key(name).hint(Some(hint))
}
