//! Letters to one target: which is tried next, and when. Pure.

use std::collections::BTreeSet;

use dsbus_schema::alert::Letter;
use tokio::time::Instant;
use uuid::Uuid;

/// Letters that wait for one target, in the order in which they were posted.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    letters: Vec<Queued>,
}

#[derive(Debug)]
struct Queued {
    id: Uuid,
    letter: Letter,
    due: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try this letter.
    Try(Uuid),
    /// Look again then.
    At(Instant),
    /// There is no letter.
    Nothing,
}

impl Queue {
    /// A letter comes in, to be tried at `due`. One that is here already stays as it is.
    pub(crate) fn push(&mut self, id: Uuid, letter: Letter, due: Instant) {
        if self.letters.iter().any(|other| other.id == id) {
            return;
        }
        let after = |other: &Queued| (other.letter.posted, other.id) <= (letter.posted, id);
        let place = self.letters.partition_point(after);
        self.letters.insert(place, Queued { id, letter, due });
    }

    /// The letter that is due for the longest time. Of the letters about one group to one recipient
    /// only the first is looked at, so that nobody hears that all is well before hearing that something was not;
    /// other groups do not wait for it.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let mut groups = BTreeSet::new();
        let first = self.letters.iter().filter(|queued| {
            let Letter { to, news, .. } = &queued.letter;
            groups.insert((to, &news.rule, &news.labels))
        });
        match first.min_by_key(|queued| queued.due) {
            Some(queued) if queued.due <= now => Next::Try(queued.id),
            Some(queued) => Next::At(queued.due),
            None => Next::Nothing,
        }
    }

    /// A letter.
    pub(crate) fn get(&self, id: Uuid) -> Option<&Letter> {
        self.letters.iter().find(|queued| queued.id == id).map(|queued| &queued.letter)
    }

    /// A try failed; the next one is at `due`.
    pub(crate) fn failed(&mut self, id: Uuid, why: &str, due: Instant) {
        if let Some(queued) = self.letters.iter_mut().find(|queued| queued.id == id) {
            queued.letter.tries += 1;
            queued.letter.why = Some(why.to_owned());
            queued.due = due;
        }
    }

    /// Nothing more is to be done about a letter.
    pub(crate) fn remove(&mut self, id: Uuid) {
        self.letters.retain(|queued| queued.id != id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dsbus_schema::alert::{NewsKind, RuleName};
    use dsbus_schema::ids::FleetName;

    use super::*;
    use crate::sample;
    use crate::texts::sample_letter;

    fn letter(group: &str, posted: u64) -> (Uuid, Letter) {
        let rule = RuleName::parse("r").unwrap();
        let mut letter = sample_letter(&FleetName::default(), &rule, NewsKind::Events).unwrap();
        letter.news.labels.insert("program".to_owned(), group.to_owned());
        letter.posted = sample::at(posted);
        (Uuid::from_u128(u128::from(posted)), letter)
    }

    #[tokio::test(start_paused = true)]
    async fn groups_do_not_wait_for_each_other_and_keep_their_order() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut queue = Queue::default();
        assert_eq!(queue.next(start), Next::Nothing);
        let letters = [letter("web", 3), letter("web", 1), letter("db", 2)];
        let [third, first, second] = letters.each_ref().map(|(id, _)| *id);
        for (id, letter) in letters {
            queue.push(id, letter.clone(), start);
            queue.push(id, letter, start);
        }
        assert_eq!(queue.next(start), Next::Try(first));
        queue.failed(first, "away", after(5));
        assert_eq!(queue.next(start), Next::Try(second), "not the third, which is about web, too");
        queue.failed(second, "away", after(3));
        assert_eq!(queue.next(start), Next::At(after(3)));
        assert_eq!(queue.next(after(9)), Next::Try(second), "it is due for longer");
        queue.remove(second);
        queue.remove(first);
        assert_eq!(queue.next(start), Next::Try(third));
        assert_eq!(queue.get(third).unwrap().tries, 0);
    }
}
