//! Whether the gateway does what its `OpenAPI` document says, as schemathesis judges: it makes
//! requests out of the document, good ones and bad ones, and holds the answers against it.

use std::path::Path;
use std::process::Command;

use crate::fleet::Fleet;
use crate::served::Gateway;

/// Names that are there and one that is not; nothing that never ends, and no long waits. 503 is an
/// answer that the document has: on a busy machine nobody may answer in time.
const CONFIG: &str = r#"
    [dictionaries.instances]
    values = ["web:0", "cat:0", "none:0"]
    [dictionaries.programs]
    values = ["web", "cat", "none"]
    [dictionaries.workers]
    values = ["w1", "none"]
    [dictionaries.never]
    values = ["false"]
    [dictionaries.soon]
    values = ["1ms", "50ms", "0.1"]
    [checks.not_a_server_error]
    expected-statuses = ["2xx", "3xx", "4xx", 503]
    [parameters]
    "query.wait" = { dictionary = "soon" }
    "query.follow" = { dictionary = "never" }
    [[operations]]
    include-path-regex = "^/api/v1/instances/"
    parameters = { "path.name" = { dictionary = "instances", probability = 0.8 } }
    [[operations]]
    include-path-regex = "^/api/v1/programs/"
    parameters = { "path.name" = { dictionary = "programs", probability = 0.8 } }
    [[operations]]
    include-path-regex = "^/api/v1/workers/"
    parameters = { "path.name" = { dictionary = "workers", probability = 0.8 } }
"#;

/// All but `positive_data_acceptance`: a schema cannot say everything (JSON Schema takes 140.0 for a
/// whole number), `ignored_auth`: this gateway lets everybody in, and those of sequences of requests,
/// which need links that the document lacks.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance";

/// The stream never ends; a worker that is forgotten is gone; and one that took new instances would
/// run whatever schemathesis declares.
const LEFT_OUT: &str = "/stream$|/workers/[^/]+/(forget|uncordon|undrain)$";

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
    let url = format!("{}/api/v1/openapi.json", gateway.url);
    let said = Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file", &config, "run", &url])
        .args(["--seed", "1", "--max-examples", "5", "--phases", "examples,coverage,fuzzing"])
        .args(["--checks", CHECKS, "--exclude-path-regex", LEFT_OUT])
        .args(["--request-timeout", "60", "--generation-database", "none"])
        .args(["--no-shrink", "--no-color", "--warnings", "off"])
        .env("PYTHONPATH", path)
        // It leaves files where it is.
        .current_dir(Path::new(&config).parent().unwrap())
        .output()
        .unwrap();
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
}
