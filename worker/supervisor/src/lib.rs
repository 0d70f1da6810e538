//! The process side of a worker. It owns the children: spawn, reap, restart, stop, logs, fencing
//! deadlines. It never touches the network, so a dead one cannot stop a fencing kill.

pub mod protocol;
