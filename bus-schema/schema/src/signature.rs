//! What a scheduler signs when it writes a placement: exact bytes, so that nobody's opinion about
//! JSON matters, and all that makes it this write and no other.

use crate::ids::{Epoch, FleetName};

/// Header of a signed placement: the public `NKey` of the scheduler that wrote it.
pub const HEADER_SIGNER: &str = "Dsbus-Signer";
/// Header of a signed placement: `<epoch> <after> <signature>`, the signature in base64 without
/// padding, for URLs.
pub const HEADER_SIGNATURE: &str = "Dsbus-Signature";
/// First line of what is signed: a signature under it says nothing about anything else.
const DOMAIN: &str = "dsbus placement 1";

/// What makes one write of a placement another than all that were before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Epoch of what is placed, or was taken away.
    pub epoch: Epoch,
    /// Last sequence over all placement keys of the instance before this write: it grows with every
    /// write, so that an older one that is written again is known.
    pub after: u64,
}

/// Whether a placement is written or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Written.
    Put,
    /// Taken away.
    Delete,
}

impl Operation {
    /// As it is signed.
    fn word(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Delete => "delete",
        }
    }
}

impl Stamp {
    /// The bytes that are signed for a placement under this key of the fleet bucket. Neither names nor
    /// keys have line breaks in them.
    pub fn text(self, fleet: &FleetName, key: &str, operation: Operation, body: &[u8]) -> Vec<u8> {
        let (epoch, after, word) = (self.epoch, self.after, operation.word());
        let head = format!("{DOMAIN}\n{fleet}\n{key}\n{word}\n{epoch}\n{after}\n");
        [head.as_bytes(), body].concat()
    }

    /// The text of the header, with this signature.
    pub fn header(self, signature: &str) -> String {
        format!("{} {} {signature}", self.epoch, self.after)
    }

    /// Reads the text of the header: the stamp, and the signature.
    pub fn parse(header: &str) -> Option<(Stamp, &str)> {
        let mut words = header.split(' ');
        let (epoch, after) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let signature = words.next()?;
        let whole = words.next().is_none();
        whole.then_some((Stamp { epoch: Epoch(epoch), after }, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_matters_is_signed() {
        let fleet = FleetName::default();
        let stamp = Stamp { epoch: Epoch(7), after: 41 };
        let text = stamp.text(&fleet, "w1.web.0", Operation::Put, b"{}");
        assert_eq!(text, b"dsbus placement 1\ndefault\nw1.web.0\nput\n7\n41\n{}");
        let texts = [
            Stamp { epoch: Epoch(8), ..stamp }.text(&fleet, "w1.web.0", Operation::Put, b"{}"),
            Stamp { after: 42, ..stamp }.text(&fleet, "w1.web.0", Operation::Put, b"{}"),
            stamp.text(&"other".parse().unwrap(), "w1.web.0", Operation::Put, b"{}"),
            stamp.text(&fleet, "w2.web.0", Operation::Put, b"{}"),
            stamp.text(&fleet, "w1.web.0", Operation::Delete, b"{}"),
            stamp.text(&fleet, "w1.web.0", Operation::Put, b"{ }"),
        ];
        assert!(texts.iter().all(|other| *other != text));
    }

    #[test]
    fn headers_are_read_back() {
        let stamp = Stamp { epoch: Epoch(7), after: 41 };
        assert_eq!(Stamp::parse(&stamp.header("abc")), Some((stamp, "abc")));
        for bad in ["", "7", "7 41", "x 41 abc", "7 x abc", "7 41 abc d", "-7 41 abc", " 7 41 abc"]
        {
            assert_eq!(Stamp::parse(bad), None, "{bad}");
        }
    }
}
