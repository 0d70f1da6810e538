//! What a nats-server must be for dsbus, and what it should be. Pure.

use dsbus_schema::version::{MESSAGE_BYTES_MAX, NATS_SERVER_MIN};

/// What a server takes unless it is told otherwise, in bytes.
pub(crate) const PAYLOAD_MAX: usize = 1 << 20;

/// Whether a server of this version has what dsbus needs. One that names none, or names it oddly,
/// is given the chance.
pub(crate) fn new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= NATS_SERVER_MIN,
        _ => true,
    }
}

/// What is to be said of a server that takes messages of so many bytes only.
pub(crate) fn too_narrow(payload_max: usize) -> Option<String> {
    (payload_max < MESSAGE_BYTES_MAX).then(|| {
        format!(
            "this NATS server takes messages of {payload_max} bytes at most, and dsbus may send some \
             of {MESSAGE_BYTES_MAX}: long output in events will be dropped, and long declarations \
             refused; raise max_payload in its configuration"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_known() {
        for old in ["2.11.9", "2.9.0", "1.4.1", "2.11.0-RC.1"] {
            assert!(!new_enough(old), "{old}");
        }
        for new in ["2.12.0", "2.15.1", "2.12-dev", "3.0.0", "", "dev"] {
            assert!(new_enough(new), "{new}");
        }
    }

    #[test]
    fn a_server_that_takes_short_messages_only_is_warned_of() {
        assert_eq!(too_narrow(PAYLOAD_MAX), None, "what a server takes by default is enough");
        assert_eq!(too_narrow(MESSAGE_BYTES_MAX), None);
        assert!(too_narrow(64 * 1024).is_some_and(|said| said.contains("max_payload")));
    }
}
