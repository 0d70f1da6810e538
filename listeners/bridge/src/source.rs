//! Where events come from, and what becomes of them there.

use std::future::Future;
use std::num::NonZeroU16;

use dsbus_schema::event::Event;

use crate::pool::Tell;

/// An event that is to be delivered, and what it is acknowledged by.
pub trait Incoming: Send {
    /// The event.
    fn event(&self) -> &Event;

    /// Its sequence in the fleet's stream.
    fn seq(&self) -> u64;
}

/// A durable consumer, or what stands for one in a test.
pub trait Source: Send {
    /// An event, which is acknowledged by giving it back to the source.
    type Key: Incoming;

    /// The next event; waits for one, and for the bus. Cancelling this loses nothing.
    ///
    /// # Errors
    /// What no waiting mends, for people.
    fn next(&mut self) -> impl Future<Output = Result<Self::Key, String>> + Send;

    /// The next event, if one is here already.
    fn next_here(&mut self) -> Option<Self::Key>;

    /// Holds no more than so many at once from now on: somebody else may take the rest.
    fn hold(&mut self, most: NonZeroU16);

    /// The event was accepted, and must not come again.
    fn done(&mut self, key: Self::Key);

    /// The event was not accepted, and should come again, to whoever is there.
    fn back(&mut self, key: Self::Key);

    /// Something that people should know.
    fn tell(&mut self, tell: &Tell);

    /// Waits until all of that has reached the bus, for a while.
    fn flush(&mut self) -> impl Future<Output = ()> + Send;
}
