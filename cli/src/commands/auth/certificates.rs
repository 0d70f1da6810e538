//! An authority of the fleet's own, and the certificate of its servers.

use dsbus_schema::moment::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// How long certificates hold, in years. Whoever wants them shorter gives certificates.
const YEARS: i32 = 10;

/// As PEM.
pub(super) struct Made {
    pub(super) ca: String,
    pub(super) ca_key: String,
    pub(super) cert: String,
    pub(super) key: String,
}

/// Makes an authority, and a certificate for servers of these hosts, which nodes of a cluster show each
/// other, too.
///
/// # Errors
/// When a host is no name that a certificate can hold.
pub(super) fn make(fleet: &str, hosts: &[String], now: Timestamp) -> Result<Made, Error> {
    let year = now.to_string().get(..4).and_then(|year| year.parse().ok()).unwrap_or(2026);
    let (begin, end) = (date_time_ymd(year, 1, 1), date_time_ymd(year + YEARS, 12, 31));
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let name = format!("dsbus fleet {fleet}");
    authority.distinguished_name.push(DnType::CommonName, format!("{name}, authority"));
    (authority.not_before, authority.not_after) = (begin, end);
    let ca = authority.self_signed(&authority_key)?.pem();
    let ca_key = authority_key.serialize_pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(hosts.to_vec())?;
    server.distinguished_name.push(DnType::CommonName, format!("{name}, servers"));
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (server.not_before, server.not_after) = (begin, end);
    server.use_authority_key_identifier_extension = true;
    let cert = server.signed_by(&key, &issuer)?.pem();
    Ok(Made { ca, ca_key, cert, key: key.serialize_pem() })
}
