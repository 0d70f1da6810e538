//! A certificate that somebody else has made: whether clients will believe it. Pure.

use std::net::IpAddr;

use dsbus_schema::moment::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

/// One that ends sooner than this is told, in seconds: a month.
const SOON: i64 = 30 * 24 * 3600;

/// What is odd about the certificate of servers that clients find by these names.
///
/// # Errors
/// When it is none, or no client would believe it now.
pub(super) fn check(pem: &str, hosts: &[&str], now: Timestamp) -> Result<Vec<String>, String> {
    let none = |e: &dyn std::fmt::Display| format!("it holds no certificate as PEM: {e}");
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|e| none(&e))?;
    let certificate = block.parse_x509().map_err(|e| none(&e))?;
    let seconds = i64::try_from(now.unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    if until.timestamp() < seconds {
        return Err(format!("the certificate expired on {until}: no client would believe it"));
    }
    let mut odd = Vec::new();
    if from.timestamp() > seconds {
        odd.push(format!("the certificate holds from {from} on only"));
    }
    if until.timestamp() - seconds < SOON {
        odd.push(format!("the certificate expires on {until}"));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    for host in hosts {
        if !names.iter().any(|name| is(name, host)) {
            odd.push(format!(
                "the certificate does not name {host}, by which --servers has clients find the \
                 server: they would refuse it"
            ));
        }
    }
    Ok(odd)
}

fn is(name: &GeneralName<'_>, host: &str) -> bool {
    match name {
        GeneralName::DNSName(name) => {
            let whole = name.eq_ignore_ascii_case(host);
            let below = |rest: &str| {
                host.split_once('.').is_some_and(|(_, tail)| tail.eq_ignore_ascii_case(rest))
            };
            whole || name.strip_prefix("*.").is_some_and(below)
        }
        GeneralName::IPAddress(bytes) => match host.parse() {
            Ok(IpAddr::V4(address)) => address.octets() == *bytes,
            Ok(IpAddr::V6(address)) => address.octets() == *bytes,
            Err(_) => false,
        },
        // By none of these a server is found.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificates;
    use super::*;

    #[test]
    fn a_certificate_must_hold_and_name_the_servers() {
        let now = Timestamp::parse("2026-05-05T00:00:00Z").unwrap();
        let hosts = ["n1.example.org", "*.lab.org", "10.0.0.1", "::1"].map(str::to_owned);
        let made = certificates::make("lab", &hosts, now).unwrap();
        let odd = |hosts: &[&str], now| check(&made.cert, hosts, now);
        let found = ["n1.example.org", "N1.Example.Org", "a.lab.org", "10.0.0.1", "::1"];
        assert_eq!(odd(&found, now), Ok(Vec::new()));
        for other in ["n2.example.org", "lab.org", "a.b.lab.org", "10.0.0.2"] {
            let told = odd(&[other], now).unwrap();
            assert!(told.len() == 1 && told[0].contains(other), "{told:?}");
        }
        let late = Timestamp::parse("2040-05-05T00:00:00Z").unwrap();
        assert!(odd(&found, late).unwrap_err().contains("expired on"));
        let early = Timestamp::parse("2020-05-05T00:00:00Z").unwrap();
        assert!(odd(&found, early).unwrap()[0].contains("holds from"));
        assert!(check("x", &[], now).unwrap_err().contains("no certificate"));
    }
}
