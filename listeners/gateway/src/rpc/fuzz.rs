//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use super::request;
use super::value::Value;

/// Longest input.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of memory that a value takes for each byte of XML: `<a/>` is one.
const BYTES_FOR_ONE: usize = 32;

/// Reads a call, writes its parameters, and reads that.
///
/// # Panics
/// When they change, take more memory than they may, or a refusal says nothing.
pub(crate) fn xmlrpc(data: &[u8]) {
    let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= INPUT_BYTES_MAX);
    let Some(text) = text else { return };
    let call = match request::read(text) {
        Ok(call) => call,
        Err(request::Unreadable(why)) => {
            assert!(!why.is_empty() && why.len() <= 2 * text.len() + 1024, "{why:?}");
            return;
        }
    };
    assert!(!call.method.is_empty(), "a call of nothing");
    let size: usize = call.params.iter().map(Value::size).sum();
    assert!(size <= BYTES_FOR_ONE * text.len(), "{size} bytes of {}", text.len());
    let written = written(&call.params);
    match request::read(&written) {
        Ok(once_more) => assert_eq!(self::written(&once_more.params), written),
        Err(why) => panic!("{written} is written, and not read: {why:?}"),
    }
}

fn written(params: &[Value]) -> String {
    let mut xml = "<methodCall><methodName>m</methodName><params>".to_owned();
    for param in params {
        assert!(!matches!(param, Value::Written(_)), "nobody writes that");
        xml.push_str("<param>");
        param.write(&mut xml);
        xml.push_str("</param>");
    }
    xml + "</params></methodCall>"
}

#[cfg(test)]
mod tests {
    #[test]
    fn calls() {
        dsbus_harness::corpus("xmlrpc", super::xmlrpc);
    }
}
