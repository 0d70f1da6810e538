//! What holds, of all that is said. Pure but for the context that may be read.

use std::path::PathBuf;

use dsbus_client::{Access, Credentials, Secret};
use dsbus_schema::ids::{FleetName, UserName};
use serde::Serialize;

use super::{Key, Layer, Origin, context, key};
use crate::config::Surroundings;
use crate::failure::Failure;

/// The bus unless anything names another one.
pub(crate) const URL_DEFAULT: &str = "nats://127.0.0.1:4222";
/// How long verbs wait unless anything says otherwise.
const TIMEOUT_DEFAULT: &str = "60s";

/// What holds.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// Servers of the bus.
    pub(crate) urls: Vec<String>,
    /// Where they are from.
    pub(crate) origin: Origin,
    /// How to get there.
    pub(crate) access: Access,
    /// Fleet.
    pub(crate) fleet: FleetName,
    /// Who asks.
    pub(crate) user: UserName,
    /// When there are colours.
    pub(crate) color: key::Color,
    /// Only errors, and what was asked for.
    pub(crate) quiet: bool,
    /// How answers are printed where no option says it.
    pub(crate) output: Option<String>,
    /// How long verbs wait where no option says it.
    pub(crate) timeout: Option<String>,
    /// Everything, for people.
    pub(crate) rows: Vec<Row>,
}

/// A setting for people, and for programs: without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// What it is called in a file.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) value: String,
    /// Where it is from.
    pub(crate) from: String,
    /// `false` of what was said of another bus than the one that holds.
    pub(crate) used: bool,
}

/// The bus, as far as it is settled.
struct Bus {
    urls: String,
    origin: Origin,
    access: Access,
    /// Layers from the first up to this one may say how to get there.
    layers: usize,
}

/// Settles what holds; the first of `layers` is the nearest.
///
/// # Errors
/// When something said cannot be, or says two things at once.
pub(super) fn resolve(layers: &[Layer], around: &Surroundings) -> Result<Settled, Failure> {
    for (key, (text, origin)) in layers.iter().flat_map(|layer| &layer.values) {
        key.check(text)
            .map_err(|why| Failure::usage(format!("{}: {why} ({origin})", key.name())))?;
    }
    let nearest = |key: Key| layers.iter().find_map(|layer| layer.get(key));
    let said = |key: Key, otherwise: &str| match nearest(key) {
        Some((text, origin)) => (text.clone(), origin.clone()),
        None => (otherwise.to_owned(), Origin::Default),
    };
    let bus = bus(layers, around)?;
    let (near, far) = layers.split_at(bus.layers.min(layers.len()));
    let access = access(near, bus.access)?;
    let unused = far.iter().flat_map(|layer| &layer.values).filter(|(key, _)| key.is_access());
    let unused = unused.map(|(key, (text, origin))| Row { used: false, ..row(*key, text, origin) });
    let unused: Vec<Row> = unused.collect();

    let mut rows = vec![row(Key::Nats, &bus.urls, &bus.origin)];
    rows.extend(access_rows(near, &access, &bus.origin));
    let mut settle = |key: Key, otherwise: &str| {
        let (text, origin) = said(key, otherwise);
        rows.push(row(key, &text, &origin));
        text
    };
    let fleet = FleetName::parse(&settle(Key::Fleet, FleetName::default().as_str()));
    let user = UserName::parse(&settle(Key::User, UserName::default().as_str()));
    settle(Key::Output, "table");
    let color = clap::ValueEnum::from_str(&settle(Key::Color, "auto"), false);
    let quiet = key::truth(&settle(Key::Quiet, "false"));
    settle(Key::Timeout, TIMEOUT_DEFAULT);
    rows.extend(unused);
    let given = |key: Key| nearest(key).map(|(text, _)| text.clone());
    Ok(Settled {
        urls: key::servers(&bus.urls),
        origin: bus.origin,
        access,
        fleet: fleet.map_err(|e| Failure::usage(e.to_string()))?,
        user: user.map_err(|e| Failure::usage(e.to_string()))?,
        color: color.map_err(Failure::usage)?,
        quiet: quiet.map_err(Failure::usage)?,
        output: given(Key::Output),
        timeout: given(Key::Timeout),
        rows,
    })
}

fn row(key: Key, text: &str, origin: &Origin) -> Row {
    Row { key: key.name(), value: key.shown(text), from: origin.place(), used: true }
}

/// The bus that the nearest layer names that names one.
fn bus(layers: &[Layer], around: &Surroundings) -> Result<Bus, Failure> {
    for (number, layer) in layers.iter().enumerate() {
        if layer.machine
            && let Some(bus) = selected(number, around)?
        {
            return Ok(bus);
        }
        let layers = number + 1;
        match (layer.get(Key::Nats), layer.get(Key::Context)) {
            (None, None) => {}
            (Some((_, one)), Some((_, two))) => {
                let (one, two) = (one.place(), two.place());
                let said = format!("{one} and {two} each name a bus");
                return Err(Failure::usage(said).hint("leave one of them out"));
            }
            (Some((urls, origin)), None) => {
                let access = match &layer.access {
                    None => Access::default(),
                    Some(Ok(access)) => access.clone(),
                    Some(Err(why)) => return Err(Failure::usage(why.clone())),
                };
                // A private fleet asks nobody who he is: only options are meant for it.
                let layers = if let Origin::Dev(_) = origin { 1 } else { layers };
                let (urls, origin) = (urls.clone(), origin.clone());
                return Ok(Bus { urls, origin, access, layers });
            }
            (None, Some((name, by))) => {
                let found = context::read(name, &by.to_string(), around)?;
                let origin = Origin::Context(name.clone(), Box::new(by.clone()));
                let (urls, access) = (found.urls, found.access);
                return Ok(Bus { urls, origin, access, layers });
            }
        }
    }
    let layers = layers.len();
    if let Some(bus) = selected(layers, around)? {
        return Ok(bus);
    }
    let (urls, origin, access) = (URL_DEFAULT.to_owned(), Origin::Default, Access::default());
    Ok(Bus { urls, origin, access, layers })
}

/// The bus of the context that is selected in the `nats` tool; `layers` are nearer.
fn selected(layers: usize, around: &Surroundings) -> Result<Option<Bus>, Failure> {
    let Some(name) = context::selected(around)? else { return Ok(None) };
    let found = context::read(&name, "selected in the nats tool", around)?;
    let origin = Origin::Selected(name);
    Ok(Some(Bus { urls: found.urls, origin, access: found.access, layers }))
}

/// What these layers say of how to get there, over what came with the bus.
fn access(layers: &[Layer], mut access: Access) -> Result<Access, Failure> {
    let nearest = |key: Key| layers.iter().find_map(|layer| layer.get(key));
    if let Some(credentials) = layers.iter().map(credentials).find_map(Result::transpose) {
        access.credentials = credentials?;
    }
    if let Some((path, _)) = nearest(Key::TlsCa) {
        access.tls.ca = Some(PathBuf::from(path));
    }
    let pair = |layer: &Layer| match (layer.get(Key::TlsCert), layer.get(Key::TlsKey)) {
        (None, None) => Ok(None),
        (Some((cert, _)), Some((key, _))) => Ok(Some((PathBuf::from(cert), PathBuf::from(key)))),
        (Some((_, origin)), None) | (None, Some((_, origin))) => Err(Failure::usage(format!(
            "{} is one of two: a certificate and its key go together",
            origin.place()
        ))),
    };
    if let Some(own) = layers.iter().map(pair).find_map(Result::transpose) {
        access.tls.own = Some(own?);
    }
    if let Some((text, _)) = nearest(Key::TlsFirst) {
        access.tls.first = key::truth(text).map_err(Failure::usage)?;
    }
    if let Some((text, _)) = nearest(Key::InboxPrefix) {
        access.inbox_prefix = Some(text.clone());
    }
    Ok(access)
}

/// The credentials of one layer.
fn credentials(layer: &Layer) -> Result<Option<Credentials>, Failure> {
    let text = |key: Key| layer.get(key).map(|(text, _)| text.clone());
    let mut found = Vec::new();
    if let Some(path) = text(Key::Creds) {
        found.push((Key::Creds, Credentials::File(path.into())));
    }
    if let Some(path) = text(Key::Nkey) {
        found.push((Key::Nkey, Credentials::Nkey(path.into())));
    }
    if let Some(token) = text(Key::NatsToken) {
        found.push((Key::NatsToken, Credentials::Token(Secret::new(token))));
    }
    match (text(Key::NatsUser), text(Key::NatsPassword)) {
        (Some(user), Some(password)) => {
            let password = Secret::new(password);
            found.push((Key::NatsUser, Credentials::Password { user, password }));
        }
        // As the nats tool reads it.
        (Some(token), None) => {
            found.push((Key::NatsUser, Credentials::Token(Secret::new(token))));
        }
        (None, Some(_)) => {
            let place = layer.get(Key::NatsPassword).map(|(_, origin)| origin.place());
            let said = format!("{} is a password of nobody", place.unwrap_or_default());
            return Err(Failure::usage(said).hint("say whose: nats_user beside it"));
        }
        (None, None) => {}
    }
    let places = found.iter().filter_map(|(key, _)| layer.get(*key));
    let places: Vec<String> = places.map(|(_, origin)| origin.place()).collect();
    match found.len() {
        0 | 1 => Ok(found.pop().map(|(_, credentials)| credentials)),
        _ => {
            let said = format!("{} each say who you are", places.join(" and "));
            Err(Failure::usage(said).hint("leave all but one of them out"))
        }
    }
}

/// What is told of credentials and TLS.
fn access_rows(layers: &[Layer], access: &Access, bus: &Origin) -> Vec<Row> {
    let from = |keys: &[Key]| {
        let said = |layer: &Layer| keys.iter().find_map(|key| layer.get(*key)).cloned();
        let said = layers.iter().find_map(said);
        said.map_or_else(|| bus.clone(), |(_, origin)| origin)
    };
    let who = [Key::Creds, Key::Nkey, Key::NatsUser, Key::NatsToken];
    let told = |key: Key, text: String| row(key, &text, &from(&[key]));
    let path = |path: &PathBuf| path.display().to_string();
    let mut rows: Vec<Row> = match &access.credentials {
        Credentials::Address => Vec::new(),
        Credentials::File(file) => vec![row(Key::Creds, &path(file), &from(&who))],
        Credentials::Nkey(file) => vec![row(Key::Nkey, &path(file), &from(&who))],
        Credentials::Token(_) => vec![row(Key::NatsToken, "", &from(&who))],
        Credentials::Password { user, .. } => {
            vec![row(Key::NatsUser, user, &from(&who)), row(Key::NatsPassword, "", &from(&who))]
        }
        Credentials::Jwt { .. } => {
            vec![Row { key: "user_jwt", value: "...".to_owned(), from: bus.place(), used: true }]
        }
    };
    if let Some(ca) = &access.tls.ca {
        rows.push(told(Key::TlsCa, path(ca)));
    }
    if let Some((cert, key)) = &access.tls.own {
        rows.extend([told(Key::TlsCert, path(cert)), told(Key::TlsKey, path(key))]);
    }
    if access.tls.first {
        rows.push(told(Key::TlsFirst, "true".to_owned()));
    }
    if let Some(prefix) = &access.inbox_prefix {
        rows.push(told(Key::InboxPrefix, prefix.clone()));
    }
    rows
}
