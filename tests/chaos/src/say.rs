//! The only file that prints.

#![expect(clippy::print_stdout, reason = "what it found is all that this program is for")]

/// Prints a line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}
