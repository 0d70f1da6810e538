//! What a signature costs: a scheduler signs each placement that it writes, and workers and schedulers
//! check each that they read. Processor time of one thread, beside the bare signature of the same bytes,
//! and beside the JSON that is written and read anyway.

use dsbus_client::{Access, Credentials, Entry, Secret, Signer, Signers, Value, Write};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, FleetName, ProgramId};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use nkeys::KeyPair;
use serde_json::json;
use uuid::Uuid;

use crate::clock::{busy, micros};
use crate::report::{Report, Who};
use crate::{Outcome, Setting};

/// Placements that are signed and checked, each once.
const PLACEMENTS: usize = 10_000;
/// Keys in the list of signers: a fleet of three schedulers, one of which has two keys.
const SIGNERS: usize = 4;

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let rounds = setting.rounds(PLACEMENTS, 200);
    let fleet = FleetName::default();
    let pair = KeyPair::new_user();
    let seed = Secret::new(pair.seed()?);
    let credentials = Credentials::Jwt { jwt: Secret::new(""), seed };
    let signer = Signer::of(&Access { credentials, ..Access::default() })?
        .ok_or("credentials with a seed sign nothing")?;
    let others = (1..SIGNERS).map(|_| KeyPair::new_user().public_key());
    let keys: Vec<String> = others.chain([pair.public_key()]).collect();
    let signers = Signers::parse(&keys.join("\n"))?;

    let (mut written, mut sealed, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut checked, mut proved, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for number in 0..rounds {
        let seq = u64::try_from(number)? + 100;
        let placement = placement(seq)?;
        let key = format!("worker-0001.service.{number}");
        let (took, write) = timed(|| Write::put(&key, &placement));
        written.push(took);
        let write = write?.stamp(Epoch(seq), seq - 1);
        let (took, seal) = timed(|| signer.seal(&fleet, &write));
        sealed.push(took);
        let body = write.body.clone().ok_or("a put has no body")?;
        bytes = body.len();
        let (took, signature) = timed(|| pair.sign(&body));
        bare.push(took);
        let signature = signature?;
        let (took, proof) = timed(|| pair.verify(&body, &signature));
        proved.push(took);
        proof?;
        let entry = Entry {
            key,
            seq,
            value: Value::Put(body),
            time: Timestamp::from_unix_nanos(0),
            by: None,
            note: bytes::Bytes::new(),
            seal,
        };
        let (took, verdict) = timed(|| signers.check(&fleet, &entry));
        checked.push(took);
        verdict?;
        let (took, again) = timed(|| entry.json::<Placement>());
        read.push(took);
        again?.ok_or("a placement is gone")?;
    }
    let mut report = Report::default();
    report.row(Who::Ours, &format!("a placement of {bytes} bytes written as JSON"), "us", written);
    report.row(Who::Ours, "the same signed", "us", sealed);
    report.row(Who::Floor, "the bare signature of its bytes", "us", bare);
    report.row(Who::Ours, "the same checked, its signer one of four", "us", checked);
    report.row(Who::Floor, "the bare check", "us", proved);
    report.row(Who::Ours, "the same read as JSON", "us", read);
    Ok(report)
}

/// How long something keeps the processor busy, in microseconds.
fn timed<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let before = busy();
    let done = what();
    (micros(busy().saturating_sub(before)), done)
}

fn placement(epoch: u64) -> Outcome<Placement> {
    let spec: ProgramSpec = serde_json::from_value(json!({
        "command": ["/usr/bin/service", "--port", "8001", "--config", "/etc/service.toml"],
        "directory": "/srv/service",
        "environment": { "LANG": "C.UTF-8", "SERVICE_ROLE": "worker", "SERVICE_LOG": "info" },
        "resources": { "cpu": 0.25, "memory": "256MB" },
    }))?;
    let wanted = Wanted { run: true, ..Wanted::default() };
    let id = ProgramId(Uuid::from_u128(u128::from(epoch)));
    let mut placement = Placement::new(id, 1, Epoch(epoch), wanted, spec);
    placement.reason = Some("best of those that may take it (0 copies, 99 instances)".to_owned());
    Ok(placement)
}
