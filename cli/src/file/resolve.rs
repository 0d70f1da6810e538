//! Sections into programs: what each inherits, and what is wrong with it as a whole.

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Problem, ProgramSpec};

use super::import::Note;
use super::keys::{self, Keys, Place};
use super::read::{Block, EXTENDS, Reader};
use super::section::Section;
use super::{Diagnostic, Programs, suggest};

/// A section with all that it inherits.
struct Whole {
    keys: Keys,
    slips: Vec<String>,
}

impl Reader<'_> {
    /// All programs, and what of a configuration of Supervisor is not as it was.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(super) fn finish(mut self) -> Result<(Programs, Vec<Note>), Vec<Diagnostic>> {
        let blocks = std::mem::take(&mut self.blocks);
        let mut programs = std::mem::take(&mut self.programs);
        for block in &blocks {
            let Some(section) = block.section else {
                self.template(block, &blocks);
                continue;
            };
            let name = match ProgramName::parse(&block.name) {
                Ok(name) => Some(name),
                Err(e) => {
                    self.wrong(&block.header, &block.path, (e.to_string(), None));
                    None
                }
            };
            let whole = self.whole(block, &blocks);
            self.judge(block, &whole);
            if let Some(name) = name
                && self.declare(&name, &block.header, &block.path)
            {
                programs.insert(name, section.as_program(keys::values(&whole.keys)));
            }
        }
        let mut wrong = self.diagnostics();
        // Each may say something, such as templates, or settings of Supervisor, and none what to run.
        if wrong.is_empty() && programs.is_empty() {
            wrong.extend(self.nothing());
        }
        if wrong.is_empty() { Ok((programs, self.notes)) } else { Err(wrong) }
    }

    /// A template may be wrong, although nothing extends it.
    fn template(&mut self, block: &Block, blocks: &[Block]) {
        let first = |other: &&Block| other.section.is_none() && other.name == block.name;
        if blocks.iter().find(first).is_some_and(|first| first.header != block.header) {
            self.wrong(&block.header, &block.path, ("is declared twice", None));
        }
        self.chain(block, blocks);
    }

    /// A section with what it extends, and with defaults.
    fn whole(&mut self, block: &Block, blocks: &[Block]) -> Whole {
        let known = block.section.map(Section::keys).unwrap_or_default();
        let fits = |key: &str| known.iter().any(|known| known == key);
        let (mut keys, mut slips) = (block.keys.clone(), block.slips.clone());
        let (chain, found) = self.chain(block, blocks);
        for base in chain {
            keys::inherit(&mut keys, &base.keys, fits);
            slips.extend(base.slips.iter().cloned());
        }
        if !found {
            // What is extended would have it, for all one knows.
            slips.push("command".to_owned());
        }
        if let Some(defaults) = block.defaults {
            keys::inherit(&mut keys, &self.defaults[defaults], fits);
        }
        Whole { keys, slips }
    }

    /// What a section extends, what that extends, and so on; and whether there is all of it.
    fn chain<'b>(&mut self, block: &'b Block, blocks: &'b [Block]) -> (Vec<&'b Block>, bool) {
        let mut chain: Vec<&'b Block> = Vec::new();
        let mut last = block;
        while let Some((base, place)) = &last.extends {
            let path = format!("{}.{EXTENDS}", last.path);
            let named = |block: &&Block| block.name == *base;
            let template = blocks.iter().find(|block| block.section.is_none() && named(block));
            let Some(found) = template.or_else(|| blocks.iter().find(named)) else {
                let all = blocks.iter().map(|block| block.name.as_str());
                let hint = suggest::hint(base, all);
                let message = format!("no program or template is named {base:?}");
                self.wrong(place, path, (message, hint));
                return (chain, false);
            };
            let is = |other: &Block| std::ptr::eq(other, found);
            if is(block) || chain.iter().any(|other| is(other)) {
                self.wrong(place, path, (format!("extends itself, over {base:?}"), None));
                return (chain, false);
            }
            chain.push(found);
            last = found;
        }
        (chain, true)
    }

    /// Tells what is wrong with the values, each where it stands.
    fn judge(&mut self, block: &Block, whole: &Whole) {
        let Some(section) = block.section else { return };
        let Whole { keys, slips } = whole;
        let values = keys::values(keys);
        for (key, inside) in ProgramSpec::strange_inside(&values) {
            let Some(given) = keys.get(&key) else { continue };
            let place = given.inside(&inside).unwrap_or(&given.key).clone();
            let known = ProgramSpec::keys_inside(&key);
            let hint = suggest::hint(&inside, known.iter().map(String::as_str))
                .or_else(|| Some(format!("known are {}", known.join(", "))));
            let path = format!("{}.{key}.{inside}", given.section);
            self.wrong(&place, path, ("unknown key", hint));
        }
        for problem in section.problems(&values) {
            // A key that is missing because it is misspelt is told once.
            if !keys.contains_key(&problem.key) && slips.contains(&problem.key) {
                continue;
            }
            let (place, section) = place_of(block, keys, &problem);
            let path = format!("{section}.{}", problem.key);
            self.wrong(&place, path, (problem.message, problem.hint));
        }
    }
}

/// Where the value stands that a problem is about, and in which section; in a table, the value that
/// its message begins with.
fn place_of(block: &Block, keys: &Keys, problem: &Problem) -> (Place, String) {
    let Some(given) = keys.get(&problem.key) else {
        return (block.header.clone(), block.path.clone());
    };
    let inside = problem.message.split_once(": ").map(|(inside, _)| inside);
    let place = inside.map_or(&given.at, |inside| given.value_inside(inside));
    (place.clone(), given.section.clone())
}
