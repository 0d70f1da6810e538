//! Writes `docs/metrics.md` to standard output: `./run metrics`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(dsbus_gateway::metrics::document().as_bytes())
}
