//! Writes the generated documents of `bus-schema/` anew: `./run schemas`.

use std::io;

fn main() -> io::Result<()> {
    dsbus_tidy::generated::write(&dsbus_tidy::tree::root())
}
