//! A cluster of nats-servers on this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::port::Port;
use crate::server::NatsServer;
use crate::wait::{DEADLINE, wait_for};

/// For an answer of a server's monitoring port.
const MONITOR_MAX: Duration = Duration::from_secs(2);

/// A cluster. Its nodes are named `n1`, `n2`, ….
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<NatsServer>,
    monitors: Vec<Port>,
    /// Kept, for they would be given away else.
    _routes: Vec<Port>,
}

impl Cluster {
    /// Starts so many nodes, and waits until they have found each other and `JetStream` has a
    /// leader.
    ///
    /// # Panics
    /// When they do not.
    pub fn start(size: usize) -> Cluster {
        let routes: Vec<Port> = (0..size).map(|_| Port::reserve()).collect();
        let monitors: Vec<Port> = (0..size).map(|_| Port::reserve()).collect();
        let urls: Vec<String> =
            routes.iter().map(|r| format!("\"nats://127.0.0.1:{}\"", r.number())).collect();
        let nodes = (0..size).map(|i| {
            let lines = format!(
                "http: \"127.0.0.1:{}\"\ncluster {{ name: c, listen: \"127.0.0.1:{}\", routes: [{}] }}",
                monitors[i].number(),
                routes[i].number(),
                urls.join(", ")
            );
            let mut node = NatsServer::prepare(Port::reserve(), &format!("n{}", i + 1), &lines);
            node.launch();
            node
        });
        let cluster = Cluster { nodes: nodes.collect(), monitors, _routes: routes };
        wait_for("a cluster with a leader", DEADLINE, || {
            (0..size)
                .all(|i| {
                    let meta = cluster.monitor(i, "/jsz").map(|jsz| jsz["meta_cluster"].clone());
                    let leads = |m: &Value| m["leader"].as_str().is_some_and(|l| !l.is_empty());
                    meta.is_some_and(|m| leads(&m) && m["cluster_size"] == size)
                })
                .then_some(())
        });
        cluster
    }

    /// Where the nodes listen.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// Which node leads a stream; waits until one does.
    ///
    /// # Panics
    /// When none does in time.
    pub fn leader(&self, stream: &str) -> usize {
        wait_for(&format!("a leader of {stream}"), DEADLINE, || {
            (0..self.nodes.len()).filter(|i| self.nodes[*i].running()).find_map(|i| {
                let name = leader_in(&self.monitor(i, "/jsz?streams=true")?, stream)?;
                // Only what the leader says of itself is news.
                (name == format!("n{}", i + 1)).then_some(i)
            })
        })
    }

    fn monitor(&self, node: usize, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitors[node].number())).ok()?;
        stream.set_read_timeout(Some(MONITOR_MAX)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

fn leader_in(jsz: &Value, stream: &str) -> Option<String> {
    let accounts = jsz["account_details"].as_array()?;
    let mut streams = accounts.iter().filter_map(|a| a["stream_detail"].as_array()).flatten();
    let found = streams.find(|s| s["name"] == stream)?;
    found["cluster"]["leader"].as_str().map(str::to_owned)
}
