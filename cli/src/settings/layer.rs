//! What is said in one place: by options, by variables, in a file.

use std::collections::BTreeMap;
use std::path::Path;

use dsbus_client::Access;

use super::{Key, Origin};
use crate::config::{PARENT_ACCESS, PARENT_URL, Surroundings};

/// What one place says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    /// Text, and where it is from. Paths are whole.
    pub(crate) values: BTreeMap<Key, (String, Origin)>,
    /// What the process that started this one gave with the bus: all of it, or what is wrong with it.
    pub(crate) access: Option<Result<Access, String>>,
    /// It is the machine's word: a context that the person has selected is nearer.
    pub(crate) machine: bool,
}

impl Layer {
    /// Says something.
    pub(crate) fn say(&mut self, key: Key, text: impl Into<String>, origin: Origin) {
        self.values.insert(key, (text.into(), origin));
    }

    /// What an option says; a path is relative to `directory`.
    pub(crate) fn flag(
        &mut self,
        key: Key,
        flag: &'static str,
        text: Option<&str>,
        directory: &Path,
    ) {
        if let Some(text) = text {
            self.say(key, whole(key, text, directory), Origin::Flag(flag));
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&(String, Origin)> {
        self.values.get(&key)
    }
}

/// What the process that started this one says of the bus.
pub(crate) fn of_parent(around: &Surroundings) -> Option<Layer> {
    let mut layer = Layer::default();
    layer.say(Key::Nats, around.variable(PARENT_URL)?, Origin::Parent);
    let access = around.variable(PARENT_ACCESS).map(|text| {
        serde_json::from_str(text).map_err(|e| format!("{PARENT_ACCESS} cannot be read: {e}"))
    });
    layer.access = Some(access.unwrap_or_else(|| Ok(Access::default())));
    for key in [Key::Fleet, Key::User, Key::Output, Key::Color, Key::Quiet, Key::Timeout] {
        variable(&mut layer, key, key.variable(), around);
    }
    Some(layer)
}

/// Our own variables.
pub(crate) fn of_dsbus(around: &Surroundings) -> Layer {
    let mut layer = Layer::default();
    for key in Key::ALL {
        variable(&mut layer, key, key.variable(), around);
    }
    layer
}

/// Those of the `nats` tool.
pub(crate) fn of_nats(around: &Surroundings) -> Layer {
    let mut layer = Layer::default();
    for key in Key::ALL {
        if let Some(name) = key.nats_variable() {
            variable(&mut layer, key, name, around);
        }
    }
    layer
}

fn variable(layer: &mut Layer, key: Key, name: &'static str, around: &Surroundings) {
    if let Some(text) = around.variable(name) {
        layer.say(key, whole(key, text, &around.directory), Origin::Variable(name));
    }
}

/// A path is made whole, and everything else is what it is.
fn whole(key: Key, text: &str, directory: &Path) -> String {
    if key.is_path() { directory.join(text).display().to_string() } else { text.to_owned() }
}
