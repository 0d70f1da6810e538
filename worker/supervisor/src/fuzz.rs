//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

pub use crate::agent_link::fuzz::link;
pub use crate::notify::fuzz::notify;
pub use crate::output::fuzz::output;

/// Longest input.
pub(crate) const INPUT_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use dsbus_harness::corpus;

    #[test]
    fn the_link_between_agent_and_supervisor() {
        corpus("link", super::link);
    }

    #[test]
    fn what_children_write() {
        corpus("output", super::output);
    }

    #[test]
    fn what_children_say_of_themselves() {
        corpus("notify", super::notify);
    }
}
