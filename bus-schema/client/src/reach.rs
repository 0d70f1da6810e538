//! What an address of a server says about how it is reached. Names are not resolved: who answers for
//! them may change, and is not always trusted.

use std::net::IpAddr;

use async_nats::ServerAddr;

use crate::Access;

/// Whether it is this machine: `localhost`, or a loopback address.
pub fn is_loopback(url: &str) -> bool {
    let Ok(address) = url.parse::<ServerAddr>() else { return false };
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical().is_loopback());
    ip.unwrap_or_else(|_| host.eq_ignore_ascii_case("localhost"))
}

/// Whether it has a user, or a token.
pub fn has_user(url: &str) -> bool {
    url.parse::<ServerAddr>()
        .is_ok_and(|address| address.has_user_pass() || address.username().is_some())
}

/// Its host and port, without a password.
pub fn shown(url: &str) -> String {
    url.parse::<ServerAddr>().map_or_else(
        |_| "the server".to_owned(),
        |address| format!("{}:{}", address.host(), address.port()),
    )
}

impl Access {
    /// Whether nobody on the way to this server reads or changes what is said, since without TLS there is
    /// no connection.
    pub fn encrypts(&self, url: &str) -> bool {
        let tls = &self.tls;
        let scheme = url.parse::<ServerAddr>().is_ok_and(|address| address.tls_required());
        scheme || tls.first || tls.ca.is_some() || tls.own.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tls;

    #[test]
    fn this_machine_is_told_from_others() {
        for here in [
            "nats://localhost:4222",
            "LOCALHOST",
            "127.0.0.1",
            "nats://127.8.9.1:4",
            "nats://[::1]:4222",
            "nats://ann:secret@localhost:4222",
            "nats://[::ffff:127.0.0.1]:4222",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for there in [
            "nats://10.0.0.1:4222",
            "nats://localhost.example.com",
            "nats://localhost@10.0.0.1",
            "nats://127.0.0.1.example.com:4222",
            "nats://0.0.0.0:4222",
            "nats://[::]:4222",
            "nats://[fe80::1]:4222",
            "nats1",
            "",
            "nats://",
        ] {
            assert!(!is_loopback(there), "{there}");
        }
    }

    #[test]
    fn a_server_needs_tls_by_its_scheme_or_by_certificates() {
        let (plain, url) = (Access::default(), "nats://h:1");
        assert!(!plain.encrypts(url) && plain.encrypts("tls://h:1"));
        let with = |tls| Access { tls, ..Access::default() };
        assert!(with(Tls { ca: Some("ca.pem".into()), ..Tls::default() }).encrypts(url));
        assert!(with(Tls { first: true, ..Tls::default() }).encrypts(url));
        assert!(has_user("nats://ann:x@h") && has_user("nats://token@h") && !has_user(url));
        assert_eq!(shown("nats://ann:x@h:1"), "h:1");
    }
}
