//! dsbus as people use it: real processes on a real nats-server, one private fleet per test.
//! No test sleeps for a fixed time; each waits for what it is about.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod access;
mod alert;
mod arguments;
mod auth;
mod background;
mod bridge;
mod bus;
mod children;
mod compose;
mod daemon;
mod declare;
mod declared;
mod dev;
mod displaced;
mod doctor;
mod drain;
mod durable;
mod events;
mod exclusive;
mod facilities;
mod facts;
mod failover;
mod faults;
mod fleet;
mod handed;
mod hands;
mod healthy;
mod jobs;
mod listen;
mod listeners;
mod logs;
mod looks;
mod nodes;
mod output;
mod peer;
mod places;
mod policy;
mod process;
mod proxy;
mod raw;
mod recover;
mod recovered;
mod rollouts;
mod said;
mod screens;
mod secrets;
mod shapes;
mod shell;
mod signing;
mod starter;
mod steering;
mod superlance;
mod supervisorctl;
#[expect(dead_code, reason = "another suite uses all of it")]
mod supervisord;
mod told;
mod twins;
mod units;
mod upgrade;
mod verbs;
mod wheel;
