//! What comes over HTTP.

use dsbus_harness::wait_until;

use crate::fleet::DEADLINE;
use crate::served::{Gateway, SILENT};
use crate::{assert_as_before, fleet, judged, look, rows};

#[test]
fn a_request_over_http_that_is_wrong_is_refused_by_its_field() {
    let mut fleet = fleet();
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let before = look(&fleet);
    let mut wrong = Vec::new();
    for (method, path, kind, body, code, says) in
        rows::<(String, String, String, String, u16, String)>(include_str!("http.toml"))
    {
        let kind = ("content-type", kind.as_str());
        let headers = if kind.1.is_empty() { &[][..] } else { &[kind][..] };
        // Where nobody answers the gateway in time, one asks again.
        let answer = wait_until(&format!("an answer to {path}"), DEADLINE, || {
            let answer = gateway.send(&method, &path, headers, &body);
            if answer.code == SILENT && code != SILENT { Err(answer.body) } else { Ok(answer) }
        });
        let row = format!("{method} {path} {body}");
        wrong.extend(judged(&row, (answer.code, &answer.body.replace('\\', "")), (code, &says)));
    }
    assert_as_before(&mut fleet, &before, &["s1", "w1", "g1"], &wrong);
}
