//! Supervisor's interface, as the tools that were made for it use it: each unmodified, and beside a
//! real supervisord where the answer can be the same.

mod ansible;
mod calls;
mod ctl;
mod superlance;
mod views;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fleet::{Fleet, said};
use crate::served::Gateway;
use crate::supervisord::{python, python_path};

/// supervisorctl 4.3.0, which asks a gateway.
pub(crate) fn ctl(fleet: &Fleet, gateway: &Gateway) -> Command {
    let conf = fleet.file("ctl.conf", &format!("[supervisorctl]\nserverurl={}\n", gateway.url));
    python("supervisor.supervisorctl", &conf)
}

/// Makes calls by Python's `xmlrpc.client` and Supervisor's transport, one after the other: a list of
/// `[method, [arguments]]`, or of bodies as they are.
const CALLER: &str = r"
import json, sys, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
url, user, password = (sys.argv[1:] + [None, None])[:3]
def transport():
    return SupervisorTransport(user, password, url)
made = []
for call in json.load(sys.stdin):
    try:
        if isinstance(call, str):
            connection = transport()._get_connection()
            connection.request('POST', '/RPC2', call, {'Content-Type': 'text/xml'})
            made.append({'http': connection.getresponse().status})
            continue
        proxy = xmlrpc.client.ServerProxy('http://127.0.0.1', transport())
        method = proxy
        for part in call[0].split('.'):
            method = getattr(method, part)
        made.append(method(*call[1]))
    except xmlrpc.client.Fault as e:
        made.append({'fault': [e.faultCode, e.faultString]})
    except xmlrpc.client.ProtocolError as e:
        made.append({'http': e.errcode})
json.dump(made, sys.stdout)
";

/// Makes these calls; see [`CALLER`].
pub(crate) fn call(server: &[&str], calls: &Value) -> Vec<Value> {
    try_call(server, calls).unwrap()
}

/// Makes these calls to a server that may not be there yet.
pub(crate) fn try_call(server: &[&str], calls: &Value) -> Result<Vec<Value>, String> {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-c", CALLER]).args(server).env("PYTHONPATH", python_path());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(said(&output));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}
