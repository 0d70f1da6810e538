//! Files of grants that lie where this command is run: beside the file that names the bus, and in the
//! directory of `dsbus auth` that this is a part of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dsbus_client::read_limited_text;
use dsbus_scheduler::{GRANTS_BYTES_MAX, Grants};

use super::facts::GrantsFound;
use crate::commands::auth;
use crate::config::Config;
use crate::settings::Origin;

/// What the file is called.
const NAME: &str = "grants.toml";

/// All that there are.
pub(super) fn found(config: &Config) -> Vec<GrantsFound> {
    let Origin::File(settings, _) = &config.origin else { return Vec::new() };
    let Ok(settings) = std::path::absolute(settings) else { return Vec::new() };
    let Some(here) = settings.parent().map(Path::to_owned) else { return Vec::new() };
    let book = here.parent().and_then(Path::parent).filter(|path| path.join("auth.toml").is_file());
    let folders = book.map(auth::folders);
    let users = book.and_then(auth::users);
    let mut paths: BTreeSet<PathBuf> = folders.into_iter().flatten().collect();
    paths.insert(here);
    let files = paths.into_iter().map(|folder| folder.join(NAME));
    files.filter(|path| path.is_file()).map(|path| of(&path, users.clone())).collect()
}

fn of(path: &Path, users: Option<BTreeSet<String>>) -> GrantsFound {
    let text =
        read_limited_text(path, GRANTS_BYTES_MAX).map_err(|e| format!("it cannot be read: {e}"));
    let read = text.and_then(|text| Grants::parse(&text));
    GrantsFound { path: path.display().to_string(), read, users }
}
