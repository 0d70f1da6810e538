//! What fuzzing feeds: requests, as they are sent but for the version of HTTP.

use axum::body::Body;
use axum::http::Request;

/// Longest input.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Reads a request, from whoever may send one.
///
/// # Panics
/// When something is read that was not said, or a refusal does not say why.
pub(crate) fn http(data: &[u8]) {
    let Some(one) = request(data) else { return };
    crate::http::fuzz::said(one.uri().path(), one.headers());
    crate::rest::fuzz::given(one);
    request(data).into_iter().for_each(crate::distsuper::fuzz::said);
}

/// `GET /path?query`, headers, an empty line, a body.
fn request(data: &[u8]) -> Option<Request<Body>> {
    if data.len() > INPUT_BYTES_MAX {
        return None;
    }
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let body = data.get(end + 2..).unwrap_or_default().to_vec();
    let mut head = data[..end].split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(head.next()?).ok()?;
    let (method, uri) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(uri);
    for line in head {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Body::from(body)).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn requests() {
        dsbus_harness::corpus("http", super::http);
    }
}
