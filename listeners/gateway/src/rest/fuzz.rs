//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use axum::body::Body;
use axum::http::Request;
use dsbus_schema::lenient::Span;
use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::given::{Given, Nothing, body, query};
use super::refusal::Refusal;

/// Fields of the sorts that queries and bodies have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is only read into")]
struct Fields {
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    #[schemars(with = "String")]
    wait: Option<Span>,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default, rename = "type")]
    type_: Option<String>,
}

impl Given for Fields {}

/// Reads a query and a body.
///
/// # Panics
/// When a refusal does not say why.
pub(crate) fn given(request: Request<Body>) {
    let (parts, sent) = request.into_parts();
    let Some(sent) = axum::body::to_bytes(sent, usize::MAX).now_or_never().and_then(Result::ok)
    else {
        return;
    };
    let uri = &parts.uri;
    let longest = 16 * (uri.to_string().len() + sent.len()) + 4096;
    query::<Fields>(uri).err().into_iter().for_each(|refusal| refused(&refusal, longest));
    query::<Nothing>(uri).err().into_iter().for_each(|refusal| refused(&refusal, longest));
    let refusal = body::<Fields>(&parts.headers, Ok(sent)).err();
    if let Some(refusal) = refusal {
        refused(&refusal, longest);
    }
}

fn refused(Refusal(refused): &Refusal, longest: usize) {
    assert!((400..500).contains(&refused.code), "{}", refused.code);
    assert!(!refused.error.trim().is_empty() && refused.error.len() <= longest, "{refused:?}");
    for problem in &refused.problems {
        assert!(refused.error.contains(&problem.key), "{refused:?}");
    }
}
