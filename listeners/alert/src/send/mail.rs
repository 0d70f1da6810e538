//! A mail, by SMTP.

use std::time::{Duration, SystemTime};

use dsbus_schema::alert::Letter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls as Way, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{Fate, chain, mailbox, tls};
use crate::spec::{MailTarget, Tls};
use crate::texts::{Context, Said};

/// Tries once. An answer of 500 to 599 is for ever; everything else may be better later. Its header
/// names all recipients of the target, wherever this letter goes.
pub(super) async fn send(
    target: &MailTarget,
    fleet: &FleetName,
    letter: &Letter,
    said: &Said,
    now: Timestamp,
) -> Fate {
    let message = match message(target, fleet, letter, said, now) {
        Ok(message) => message,
        Err(why) => return Fate::never(why),
    };
    let transport = match transport(target) {
        Ok(transport) => transport,
        Err(why) => return Fate::later(why),
    };
    match transport.send(message).await {
        Ok(_) => Fate::Delivered,
        Err(e) if e.is_permanent() => Fate::never(format!("refused: {}", chain(&e))),
        Err(e) => Fate::later(chain(&e)),
    }
}

fn transport(target: &MailTarget) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let way = match target.tls {
        Tls::None => Way::None,
        Tls::Starttls => Way::Required(parameters(target)?),
        Tls::Tls => Way::Wrapper(parameters(target)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&target.host)
        .port(target.port)
        .tls(way)
        .hello_name(ClientId::Domain(target.hello.clone()));
    if let Some((user, password)) = &target.login {
        let password = password.read().map_err(|e| e.to_string())?;
        builder = builder.credentials(Credentials::new(user.clone(), password.shown().to_owned()));
    }
    Ok(builder.build())
}

fn parameters(target: &MailTarget) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(target.host.clone());
    if let Some(path) = &target.ca_file {
        builder = builder.certificate_store(CertificateStore::None);
        for authority in tls::authorities(path)? {
            let certificate = Certificate::from_der(authority.to_vec());
            builder = builder.add_root_certificate(certificate.map_err(|e| chain(&e))?);
        }
    }
    builder.build().map_err(|e| chain(&e))
}

fn message(
    target: &MailTarget,
    fleet: &FleetName,
    letter: &Letter,
    said: &Said,
    now: Timestamp,
) -> Result<Message, String> {
    let group = Context::new(fleet, letter);
    let group = group.get("group")["id"].as_str().unwrap_or_default().to_owned();
    let seconds = u64::try_from(now.unix_nanos() / 1_000_000_000).unwrap_or(0);
    let mut builder = Message::builder()
        .from(mailbox(&target.from)?)
        .subject(&said.subject)
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        // The same at each try: whoever gets it twice can see that.
        .message_id(Some(format!("<{}.{}@dsbus.{fleet}>", letter.news.id, letter.target)))
        // Mail programs show what is about one group as one conversation.
        .references(format!("<{group}@dsbus.{fleet}>"))
        .header(ContentType::TEXT_PLAIN);
    for to in &target.to {
        builder = builder.to(mailbox(to)?);
    }
    if let Some(to) = &letter.to {
        let (from, to) = (mailbox(&target.from)?, mailbox(to)?);
        let envelope = Envelope::new(Some(from.email), vec![to.email]);
        builder = builder.envelope(envelope.map_err(|e| chain(&e))?);
    }
    let mut message = builder.body(said.text.clone()).map_err(|e| chain(&e))?;
    for (name, text) in [
        // No answer of an absent person, and no other robot, answers to it (RFC 3834).
        ("Auto-Submitted", "auto-generated"),
        ("X-Dsbus-Rule", letter.news.rule.as_str()),
        ("X-Dsbus-Fleet", fleet.as_str()),
    ] {
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|e| chain(&e))?;
        message.headers_mut().insert_raw(HeaderValue::new(name, text.to_owned()));
    }
    Ok(message)
}
