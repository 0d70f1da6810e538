//! A fleet with a gateway, and asking it.

use std::io::Read as _;

use dsbus_harness::wait_until;
use serde_json::Value;

use crate::fleet::{DEADLINE, Fleet};

/// The code of an answer that says that nobody answered in time.
pub(crate) const SILENT: u16 = 503;

/// An answer: its code, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        all.next().map(|(_, value)| value.as_str())
    }
}

/// A gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    agent: ureq::Agent,
}

impl Gateway {
    /// Starts one on a free port, as the process `id` of the fleet, with these words besides, and
    /// waits until it knows the fleet.
    pub(crate) fn start(fleet: &mut Fleet, id: &str, words: &[&str]) -> Gateway {
        let gateway = Gateway::begin(fleet, id, words);
        gateway.wait_ready();
        gateway
    }

    /// The same without waiting until it knows anything.
    pub(crate) fn begin(fleet: &mut Fleet, id: &str, words: &[&str]) -> Gateway {
        let nats = fleet.nats.url();
        let common = ["--nats", &nats, "gateway", "--listen", "127.0.0.1:0"];
        fleet.spawn(id, &[&common[..], words].concat());
        let url = wait_until("the gateway to listen", DEADLINE, || {
            let log = std::fs::read_to_string(fleet.log(id)).unwrap_or_default();
            let found = log.split_once("listens on http").and_then(|(_, rest)| rest.lines().next());
            found.map(|rest| format!("http{rest}")).ok_or(log)
        });
        Gateway::at(&url)
    }

    /// One that is there, or will be.
    pub(crate) fn at(url: &str) -> Gateway {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE))
            .build();
        Gateway { url: url.to_owned(), agent: config.into() }
    }

    /// Waits until somebody listens there who knows the fleet.
    pub(crate) fn wait_served(&self) {
        wait_until("the gateway to be there", DEADLINE, || {
            let asked = self.agent.get(format!("{}/readyz", self.url)).call();
            match asked.map(|answer| answer.status().as_u16()) {
                Ok(200) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// Sends JSON by POST to one that may not be there.
    pub(crate) fn try_post(&self, path: &str, body: &str) -> Result<Answer, ureq::Error> {
        let request = self.agent.post(format!("{}{path}", self.url));
        request.header("content-type", "application/json").send(body).map(answer)
    }

    pub(crate) fn wait_ready(&self) {
        wait_until("the gateway to know the fleet", DEADLINE, || {
            let ready = self.get("/readyz", &[]);
            if ready.code == 200 { Ok(()) } else { Err(ready.body) }
        });
    }

    /// Asks by GET.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call().unwrap())
    }

    /// The same, and asks again as long as nobody answers the gateway in time, as clients do.
    pub(crate) fn get_answered(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        wait_until(&format!("an answer to {path}"), DEADLINE, || {
            let answer = self.get(path, headers);
            if answer.code == SILENT { Err(answer.body) } else { Ok(answer) }
        })
    }

    /// Waits until the gateway knows an instance in this state, and its program: it hears of each for
    /// itself, some time after the scheduler has told whoever asked.
    pub(crate) fn wait_state(&self, name: &str, state: &str, headers: &[(&str, &str)]) {
        let program = name.split(':').next().unwrap();
        wait_until(&format!("the gateway to know that {name} is {state}"), DEADLINE, || {
            let row = self.get(&format!("/api/v1/instances/{name}"), headers);
            let declared = self.get(&format!("/api/v1/programs/{program}"), headers);
            let stands: Value = serde_json::from_str(&row.body).unwrap_or_default();
            let codes = (row.code, declared.code);
            if codes == (200, 200) && stands["state"] == state { Ok(()) } else { Err(row.body) }
        });
    }

    /// Asks for a packed answer: what was in it, and how many bytes came.
    pub(crate) fn get_packed(&self, path: &str) -> (Answer, usize) {
        let request = self.agent.get(format!("{}{path}", self.url));
        let mut response = request.header("accept-encoding", "gzip").call().unwrap();
        let bytes = response.body_mut().read_to_vec().unwrap();
        let mut body = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut body).unwrap();
        (Answer { body, ..answer(response) }, bytes.len())
    }

    /// Asks by POST.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body).unwrap())
    }

    /// Asks by another method.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = ureq::http::Request::builder();
        request = request.method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(self.agent.run(request.body(body.to_owned()).unwrap()).unwrap())
    }

    /// JSON by GET; the answer must be a good one.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get_answered(path, &[]);
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let headers = headers.collect();
    let body = response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
    Answer { code: response.status().as_u16(), headers, body }
}
