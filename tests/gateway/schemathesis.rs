//! Whether the gateway does what its `OpenAPI` document says, as schemathesis judges: it makes
//! requests out of the document, good ones and bad ones, and holds the answers against it.

use std::path::Path;
use std::process::Command;

use crate::fleet::Fleet;
use crate::openapi::Api;
use crate::served::Gateway;

/// Which requests, and by what they are judged: all that schemathesis has, but for
///
/// - `ignored_auth`: this gateway lets everybody in;
/// - sequences of requests: they need links, which the document lacks;
/// - `positive_data_acceptance` of declarations: that `numprocs` needs its number in `process_name`,
///   say, or that a cron has five fields, no schema says. Everything else that the document allows
///   must not be answered by 400;
/// - the keys of a declaration one by one, a second time: nearly half of all requests;
/// - what would hinder the others: the stream never ends, a worker that is forgotten is gone, and one
///   that took new instances would run whatever schemathesis declares.
///
/// Names are of what is there, and of one that is not. 503 is an answer that the document has: on a
/// busy machine nobody may answer in time.
const CONFIG: &str = r#"
    seed = 1
    hooks = "hooks.py"
    warnings = false
    request-timeout = 60
    continue-on-failure = true
    phases.stateful.enabled = false
    generation = { max-examples = 5, database = "none", no-shrink = true }
    [dictionaries]
    instances.values = ["web:0", "cat:0", "none:0"]
    programs.values = ["web", "cat", "none"]
    workers.values = ["w1", "none"]
    soon.values = ["1ms", "50ms", "0.1"]
    [checks]
    not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
    ignored_auth.enabled = false
    [parameters]
    "query.wait" = { dictionary = "soon" }
    [[operations]]
    include-path-regex = "^/api/v1/instances/"
    [operations.parameters]
    "path.name" = { dictionary = "instances", probability = 0.8 }
    "query.wait" = { dictionary = "soon" }
    [[operations]]
    include-path-regex = "^/api/v1/programs/"
    [operations.parameters]
    "path.name" = { dictionary = "programs", probability = 0.8 }
    "query.wait" = { dictionary = "soon" }
    [[operations]]
    include-path-regex = "^/api/v1/workers/"
    parameters = { "path.name" = { dictionary = "workers", probability = 0.8 } }
    [[operations]]
    include-operation-id = ["post_programs_name", "put_programs"]
    checks.positive_data_acceptance.enabled = false
    [[operations]]
    include-operation-id = "put_programs"
    phases.coverage.enabled = false
    [[operations]]
    include-path-regex = "/stream$|/workers/[^/]+/(forget|uncordon|undrain)$"
    enabled = false
"#;

/// How many operations the last lines of [`CONFIG`] leave out.
const LEFT_OUT: usize = 4;

/// A log that is followed never ends, either.
const HOOKS: &str = "
import schemathesis

@schemathesis.hook
def filter_query(context, query):
    return not query or query.get('follow') not in (True, 'true')
";

#[test]
fn requests_made_of_the_document_are_answered_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/schemathesis");
    assert!(Path::new(path).is_dir(), "{path} is missing: ./run setup fetches it");
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n\
         [program.cat]\ncommand = \"cat\"\nstdin = true\nstartsecs = 0",
    );
    for name in ["web:0", "web:1", "cat:0"] {
        fleet.wait_row(name, "running", |row| row["state"] == "RUNNING");
    }
    fleet.ok(&["cordon", "w1"]);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let config = fleet.file("schemathesis.toml", CONFIG);
    fleet.file("hooks.py", HOOKS);
    let url = format!("{}/api/v1/openapi.json", gateway.url);
    let said = Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file", &config, "--no-color", "run", &url])
        .env("PYTHONPATH", path)
        // It finds its hooks where it is, and leaves files there.
        .current_dir(fleet.path())
        .output()
        .unwrap();
    let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    assert!(said.status.success(), "{text}");
    let tested = Api::new(&gateway).operations().len() - LEFT_OUT;
    assert!(text.contains(&format!("Tested: {tested}\n")), "{tested} operations: {text}");
}
