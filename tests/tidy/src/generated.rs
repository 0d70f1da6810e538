//! Generated documents are the ones that today's types give.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use dsbus_schema::generate::{Examples, documents};

use crate::python;
use crate::tree::Tree;

const FOLDER: &str = "bus-schema/";
const SCHEMAS: &str = "bus-schema/schemas/";
/// What documents quote: recorded by a fleet, or kept from past releases.
const QUOTED: [&str; 2] = ["bus-schema/examples/", "bus-schema/golden/"];

/// Every generated document, by its path from the root.
fn wanted(tree: &Tree) -> BTreeMap<String, String> {
    let quoted = tree.files.iter().filter(|file| QUOTED.iter().any(|at| file.path.starts_with(at)));
    let files = quoted.map(|file| (file.path.replacen(FOLDER, "", 1), file.text.clone()));
    let mut wanted: BTreeMap<_, _> = documents(&Examples::new(files)).into_iter().collect();
    let schemas = wanted.iter().filter_map(|(path, text)| {
        Some((path.strip_prefix(SCHEMAS)?.strip_suffix(".json")?, text.as_str()))
    });
    let module = python::module(&schemas.collect());
    wanted.insert(python::PATH.to_owned(), module);
    wanted
}

/// The checked-in documents are up to date, and none is left of a message that is no more.
pub fn up_to_date(tree: &Tree) -> Vec<String> {
    let wanted = wanted(tree);
    let stale = wanted
        .iter()
        .filter(|(path, text)| tree.text(path) != Some(text.as_str()))
        .map(|(path, _)| format!("{path}: not what the types give: ./run schemas, and commit"));
    let left = tree
        .files
        .iter()
        .filter(|file| file.path.starts_with(SCHEMAS) && !wanted.contains_key(&file.path))
        .map(|file| format!("{}: of no message: delete it", file.path));
    stale.chain(left).collect()
}

/// Writes the documents into the tree under `root`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(root: &Path) -> io::Result<()> {
    for (path, text) in wanted(&Tree::read(root)?) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_and_a_left_over_document_are_found() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        assert_eq!(up_to_date(&Tree::read(folder.path()).unwrap()), [""; 0]);
        fs::write(folder.path().join("bus-schema/asyncapi.json"), "{}").unwrap();
        fs::write(folder.path().join("bus-schema/schemas/old.json"), "{}").unwrap();
        assert_eq!(up_to_date(&Tree::read(folder.path()).unwrap()).len(), 2);
    }
}
