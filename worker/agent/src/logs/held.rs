//! Files that were just read from, kept open for a moment: who reads a file to its end must not lose
//! it because it is removed meanwhile, and what was unpacked is not unpacked again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_schema::call::LogPlace;
use dsbus_schema::moment::BootTime;

use super::chain::{Chain, Content, Identity, Part, Removed};
use crate::clock;

/// Most files; each is a descriptor, and room on the disk if it is removed.
const FILES_MAX: usize = 64;
/// How long one is kept after it was read from: whoever follows asks again within this time, and
/// whoever is stopped must not fill the disk.
const KEPT_MAX: Duration = Duration::from_secs(15);

/// The files.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<One>>);

#[derive(Debug)]
struct One {
    identity: Identity,
    read: BootTime,
    /// The file after it, as soon as there was one.
    next: Option<Identity>,
    /// One reader goes on with what is unpacked.
    content: Content,
}

impl Held {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    /// The file of a place, which is not among those of its log any more.
    pub(super) fn removed(&self, place: &LogPlace) -> Option<Part> {
        let all = self.all();
        let one = all.iter().find(|one| one.identity.is_of(place))?;
        match &one.content {
            Content::Plain(file) => {
                let part = Part::plain(Arc::clone(file)).ok()?;
                Some(Part { removed: Some(Removed { next: one.next }), ..part })
            }
            Content::Packed(_) => None,
        }
    }

    /// Goes on where the file was unpacked to, if it was.
    pub(super) fn resume(&self, part: &mut Part) {
        let Content::Packed(unpacker) = &mut part.content else { return };
        let mut all = self.all();
        let packed = |one: &One| matches!(one.content, Content::Packed(_));
        let known = all.iter().position(|one| one.identity == part.identity && packed(one));
        if let Some(One { content: Content::Packed(known), .. }) =
            known.map(|at| all.swap_remove(at))
        {
            *unpacker = known;
        }
    }

    /// Keeps the file that a place is in.
    pub(super) fn keep(&self, chain: Chain, place: LogPlace) {
        let mut next = None;
        let part = chain.into_parts().into_iter().find(|part| {
            let found = part.identity.is_of(&place);
            if !found {
                next = Some(part.identity);
            }
            found
        });
        let Some(Part { identity, content, removed, .. }) = part else { return };
        if let Some(removed) = removed {
            next = removed.next;
        }
        let read = clock::now();
        let mut all = self.all();
        all.retain(|one| one.identity != identity && read.since(one.read) < KEPT_MAX);
        if all.len() >= FILES_MAX {
            all.remove(0);
        }
        all.push(One { identity, read, next, content });
    }
}
