//! Declarations are shared by instances and children, and are long: each is handed over once, and
//! named by its number. The numbers are those of a list that is there while a document is written or
//! read, on one thread.

use std::cell::RefCell;
use std::sync::Arc;

use dsbus_schema::program::ProgramSpec;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

thread_local! {
    static LIST: RefCell<Vec<Arc<ProgramSpec>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `act` with a list of its own; gives what came of it, and the list.
pub(crate) fn with_list<T>(
    list: Vec<Arc<ProgramSpec>>,
    act: impl FnOnce() -> T,
) -> (T, Vec<Arc<ProgramSpec>>) {
    LIST.replace(list);
    let done = act();
    (done, LIST.take())
}

fn number(spec: &Arc<ProgramSpec>) -> usize {
    LIST.with_borrow_mut(|list| {
        // The instances of a program come one after the other, and so do the copies of its spec.
        let known = list.iter().rposition(|known| Arc::ptr_eq(known, spec));
        known.unwrap_or_else(|| {
            list.push(Arc::clone(spec));
            list.len() - 1
        })
    })
}

fn named<E: Error>(number: usize) -> Result<Arc<ProgramSpec>, E> {
    let found = LIST.with_borrow(|list| list.get(number).cloned());
    found.ok_or_else(|| E::custom(format!("there is no spec {number}")))
}

pub(crate) fn serialize<S: Serializer>(spec: &Arc<ProgramSpec>, to: S) -> Result<S::Ok, S::Error> {
    number(spec).serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Arc<ProgramSpec>, D::Error> {
    named(usize::deserialize(from)?)
}

/// The same for one that may be missing.
pub(crate) mod maybe {
    use std::sync::Arc;

    use dsbus_schema::program::ProgramSpec;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub(crate) fn serialize<S: Serializer>(
        spec: &Option<Arc<ProgramSpec>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        spec.as_ref().map(super::number).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Arc<ProgramSpec>>, D::Error> {
        Option::<usize>::deserialize(from)?.map(super::named).transpose()
    }
}
