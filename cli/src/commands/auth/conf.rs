//! The configuration of the servers, as text. Pure.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use dsbus_schema::permit::Permissions;

use super::book::Book;

/// Where nodes of a cluster speak to each other.
const CLUSTER_PORT: u16 = 6222;
/// Where clients come, unless an address says another one.
const PORT: u16 = 4222;
/// Seconds that a client has for TLS; a machine under load needs more than the two by default.
const TLS_SECONDS: u8 = 10;

/// A text as NATS reads it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The host of an address, without scheme, user and port.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    }
}

fn port(url: &str) -> u16 {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(PORT)
}

/// What servers are told once, and people may change.
pub(super) struct Server<'a> {
    /// Where the directory is there.
    pub(super) at: &'a Path,
    /// Where they store.
    pub(super) store: &'a Path,
    /// What nodes of a cluster know of each other.
    pub(super) secret: &'a str,
    /// Where they say how they are.
    pub(super) monitor: Option<SocketAddr>,
}

impl Server<'_> {
    /// The configuration of one server, or of one node of a cluster.
    pub(super) fn conf(&self, book: &Book, node: Option<&str>) -> String {
        let path = |name: &str| quoted(&self.at.join(name).to_string_lossy());
        let name = node.unwrap_or("dsbus");
        let listen = port(book.servers.first().map_or("", String::as_str));
        let store = match node {
            None => self.store.to_path_buf(),
            Some(node) => self.store.join(node),
        };
        let (cert, key) = (path("tls/server.pem"), path("tls/server.key"));
        let ca =
            if book.ca { format!("  ca_file: {}\n", path("tls/ca.pem")) } else { String::new() };
        let mut text = format!(
            "# A NATS server of the fleet {}. Written once by dsbus auth init, and yours to change;\n\
             # users.conf beside it is written anew by dsbus auth add, rotate and revoke. Then:\n\
             #   nats-server --signal reload\n\
             server_name: {}\n\
             listen: \"0.0.0.0:{listen}\"\n\
             jetstream {{\n  store_dir: {}\n}}\n\
             tls {{\n  cert_file: {cert}\n  key_file: {key}\n{ca}  timeout: {TLS_SECONDS}\n}}\n\
             authorization {{\n  timeout: {TLS_SECONDS}\n  include \"users.conf\"\n}}\n",
            book.fleet,
            quoted(name),
            quoted(&store.to_string_lossy()),
        );
        if let Some(monitor) = self.monitor {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "http: {}", quoted(&monitor.to_string()));
        }
        if let Some(node) = node {
            let others = book.nodes.iter().filter(|other| *other != node);
            let routes: Vec<String> = others
                .map(|other| {
                    quoted(&format!("nats-route://route:{}@{other}:{CLUSTER_PORT}", self.secret))
                })
                .collect();
            // Certificates of an authority of our own are shown to nobody else.
            let verify = if book.ca { "    verify: true\n" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "cluster {{\n  name: {}\n  listen: \"0.0.0.0:{CLUSTER_PORT}\"\n  \
                 authorization {{ user: route, password: {} }}\n  routes: [\n    {}\n  ]\n  \
                 tls {{\n    cert_file: {cert}\n    key_file: {key}\n  {ca}{verify}    timeout: {TLS_SECONDS}\n  }}\n}}\n",
                quoted(&format!("dsbus-{}", book.fleet)),
                quoted(self.secret),
                routes.join("\n    "),
            );
        }
        text
    }
}

/// All users, for `authorization`.
pub(super) fn users(book: &Book) -> String {
    let mut text =
        "# Written anew by dsbus auth; what is changed here by hand is lost. Public keys and \
                    permissions.\nusers: [\n"
            .to_owned();
    for user in &book.users {
        let permissions = book.permissions(user);
        for key in user.keys() {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "  # {} {}\n  {{\n    nkey: {key}\n    permissions: {{\n{}    }}\n  }}\n",
                user.role,
                user.name,
                one(&permissions)
            );
        }
    }
    text.push_str("]\n");
    text
}

fn one(permissions: &Permissions) -> String {
    let list = |subjects: &[String]| {
        let all: Vec<String> =
            subjects.iter().map(|subject| format!("          {}\n", quoted(subject))).collect();
        format!("[\n{}        ]", all.concat())
    };
    let Permissions { publish, publish_deny, subscribe } = permissions;
    let mut text = format!("      publish: {{\n        allow: {}\n", list(publish));
    if !publish_deny.is_empty() {
        let _ = writeln!(text, "        deny: {}", list(publish_deny));
    }
    let heard = list(subscribe);
    let _ = write!(text, "      }}\n      subscribe: {{\n        allow: {heard}\n      }}\n");
    text
}
