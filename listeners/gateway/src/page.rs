//! The web page: files that are part of this binary. Nothing of it comes from anywhere else, and
//! nothing of it is made anew for a request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{Context, SHA256, digest};

/// What the page may do: load its own files, and talk to its own gateway. No script or style stands in
/// the documents themselves, and no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// Files whose address has the sum of all files in it never change.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What is asked for each time, and mostly answered by "as before".
const ASK: &str = "no-cache";
/// Where an HTML file names the directory of the other files.
const ASSETS: &str = "{{assets}}";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../page/", $name)).as_slice())),*]
    };
}

/// All files.
static FILES: &[(&str, &[u8])] = &files![
    "actions.js",
    "ansi.js",
    "api.js",
    "app.js",
    "base.css",
    "bulk.js",
    "dialog.js",
    "dom.js",
    "favicon.svg",
    "filter.js",
    "format.js",
    "index.html",
    "list.js",
    "lists.css",
    "live.js",
    "log.js",
    "login.html",
    "login.js",
    "pages.css",
    "parts.js",
    "plot.js",
    "rows.js",
    "states.js",
    "store.js",
    "theme.js",
    "views/events.js",
    "views/instance.js",
    "views/instances.js",
    "views/program.js",
    "views/rollouts.js",
    "views/workers.js",
];

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

/// The files as they are sent.
struct Page {
    /// The sum of all of them, in the addresses of those that never change.
    sum: String,
    files: BTreeMap<&'static str, File>,
}

/// A file as it is sent.
struct File {
    kind: &'static str,
    tag: String,
    plain: Bytes,
    packed: Bytes,
}

impl Page {
    fn new() -> Page {
        let mut context = Context::new(&SHA256);
        for (name, bytes) in FILES {
            context.update(name.as_bytes());
            context.update(bytes);
        }
        let sum = short(context.finish().as_ref());
        let assets = format!("/assets/{sum}");
        let file = |name: &str, bytes: &'static [u8]| {
            let kind = kind(name);
            let html = kind.starts_with("text/html").then(|| String::from_utf8_lossy(bytes));
            let plain = match html {
                Some(text) => Bytes::from(text.replace(ASSETS, &assets)),
                None => Bytes::from_static(bytes),
            };
            let tag = format!("\"{}\"", short(digest(&SHA256, &plain).as_ref()));
            let packed = pack(&plain);
            File { kind, tag, plain, packed }
        };
        let files = FILES.iter().map(|(name, bytes)| (*name, file(name, bytes))).collect();
        Page { sum, files }
    }
}

/// The first 16 bytes of a sum, in hexadecimal: more than enough to tell files apart.
fn short(sum: &[u8]) -> String {
    sum.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compressed; empty where that does not work, and then it is not used.
fn pack(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.unwrap_or_default().into()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a browser shows the page there.
pub(crate) fn is_page(path: &str) -> bool {
    let one_of = |below: &str| {
        path.strip_prefix(below).is_some_and(|name| !name.is_empty() && !name.contains('/'))
    };
    matches!(path, "/" | "/workers" | "/rollouts" | "/events")
        || one_of("/instances/")
        || one_of("/programs/")
        || one_of("/workers/")
}

/// The paths of the page. It shows what its address says by itself.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = async |headers: HeaderMap| send("index.html", ASK, &headers);
    let login = async |headers: HeaderMap| send("login.html", ASK, &headers);
    let icon = async |headers: HeaderMap| send("favicon.svg", ASK, &headers);
    Router::new()
        .route("/", get(page))
        .route("/instances/{name}", get(page))
        .route("/programs/{name}", get(page))
        .route("/workers", get(page))
        .route("/workers/{name}", get(page))
        .route("/rollouts", get(page))
        .route("/events", get(page))
        .route("/login", get(login))
        .route("/favicon.ico", get(icon))
        .route("/assets/{sum}/{*name}", get(asset))
}

async fn asset(Path((sum, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    // A page of another version asks for files of its own: it gets these, and asks again next time.
    let keep = if sum == PAGE.sum { FOR_EVER } else { ASK };
    send(&name, keep, &headers)
}

fn send(name: &str, keep: &'static str, headers: &HeaderMap) -> Response {
    let Some(file) = PAGE.files.get(name) else {
        return (StatusCode::NOT_FOUND, "404: the page has no such file\n").into_response();
    };
    let says = |name: HeaderName, part: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| {
            one.split(';').next().is_some_and(|one| one.trim().trim_start_matches("W/") == part)
        })
    };
    let common = [
        (header::ETAG, file.tag.as_str()),
        (header::CACHE_CONTROL, keep),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    if says(header::IF_NONE_MATCH, &file.tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, file.kind)];
    if says(header::ACCEPT_ENCODING, "gzip") && !file.packed.is_empty() {
        let packed = [(header::CONTENT_ENCODING, "gzip")];
        return (common, kind, packed, file.packed.clone()).into_response();
    }
    (common, kind, file.plain.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(below: &std::path::Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(below).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                names(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_is_part_of_the_binary() {
        let mut found = Vec::new();
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        names(&directory, "", &mut found);
        found.sort();
        let known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn what_documents_name_is_there() {
        for (name, file) in &PAGE.files {
            let text = String::from_utf8_lossy(&file.plain).into_owned();
            assert!(!text.contains(ASSETS), "{name}");
            let assets = format!("/assets/{}/", PAGE.sum);
            for (at, _) in text.match_indices(&assets) {
                let named = text[at + assets.len()..].split('"').next().unwrap();
                assert!(PAGE.files.contains_key(named), "{name} names {named}");
            }
            // A drawing that is not there would be a hole.
            let drawings = &PAGE.files["index.html"].plain;
            let drawings = String::from_utf8_lossy(drawings);
            for part in text.split("icon(\"").skip(1) {
                let drawing = part.split('"').next().unwrap();
                assert!(drawings.contains(&format!("id=\"i-{drawing}\"")), "{name}: {drawing}");
            }
        }
    }

    #[test]
    fn nothing_becomes_markup() {
        for (name, bytes) in FILES {
            let text = String::from_utf8_lossy(bytes);
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{name} has {word}");
            }
            assert!(!text.contains(" style=\""), "{name}: the policy forbids styles in documents");
        }
    }

    #[test]
    fn where_the_page_is() {
        for path in ["/", "/workers", "/workers/w1", "/instances/web:0", "/programs/web", "/events"]
        {
            assert!(is_page(path), "{path}");
        }
        for path in ["/api/v1/me", "/workers/", "/workers/w1/RPC2", "/login", "/RPC2", "/metrics"] {
            assert!(!is_page(path), "{path}");
        }
    }
}
