//! A window of the file that is written now.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use dsbus_schema::call::{LogAsk, LogFrom, LogPart, LogWindow, WindowAsk, WindowFrom};
use dsbus_supervisor::open_trusted;

use super::chain::Part;
use super::{followed, home, log};

/// Reads a window, at most `most` bytes of it; `None` where there is no such file.
pub(crate) fn window(
    directory: &Path,
    ask: &WindowAsk,
    most: usize,
) -> io::Result<Option<LogWindow>> {
    let whose = whose(ask);
    let path = followed(log(&home(directory, &whose), &whose));
    let file = match open_trusted(&path, File::options().read(true)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let size = metadata.len();
    let offset = match ask.from {
        WindowFrom::Offset(offset) => offset.min(size),
        WindowFrom::Last(bytes) => size.saturating_sub(bytes),
    };
    let wanted = ask.bytes.min(size - offset);
    let room = usize::try_from(wanted).unwrap_or(usize::MAX).min(most);
    let mut part = Part::plain(Arc::new(file))?;
    let mut output = vec![0; room];
    let read = part.read(offset, &mut output)?;
    output.truncate(read);
    let next = part.place(offset + read as u64)?;
    let mut part = LogPart::new(output, next);
    part.more = (read as u64) < wanted;
    Ok(Some(LogWindow { offset, size, part }))
}

/// Whose log it is, as an ask for output says it.
pub(crate) fn whose(ask: &WindowAsk) -> LogAsk {
    let (name, channel) = (ask.name.clone(), ask.channel);
    LogAsk { name, channel, from: LogFrom::Last(0), epoch: None, wait_ms: 0 }
}
