//! Over HTTP: the real binary, and the load in another process.

use std::process::Command;

use axum::{Router, http::StatusCode, routing::post};
use tokio::runtime::Runtime;

use crate::{
    Scale, pipeline,
    process::Served,
    table::{Goal, Table, in_turns},
};

const CONNECTIONS: usize = 64;

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let requests = scale.stream as usize / 3;
    let (bare, ennio) = in_turns(|| bare(runtime, requests), || one(requests));
    let name = "HTTP, one event a request, 64 connections";
    table.row(name, Some(bare), ennio, "events/s", Goal::Share(0.4));

    let events = scale.stream / 2;
    let (commit, ennio) = in_turns(|| pipeline::commit_alone(runtime, events), || lines(events));
    let name = "HTTP, NDJSON, of the commit alone";
    table.row(name, Some(commit), ennio, "events/s", Goal::Share(0.6));
}

/// One event a request, to a host that is new.
fn one(requests: usize) -> f64 {
    let host = Served::new(&[]);
    let seconds = load(&["one", &host.address, &CONNECTIONS.to_string(), &requests.to_string()]);
    let sent = requests / CONNECTIONS * CONNECTIONS;
    assert_eq!(host.stop(), sent as u64, "events in the log");
    sent as f64 / seconds
}

/// All events in one body, to a host that is new.
fn lines(events: u64) -> f64 {
    let host = Served::new(&[]);
    let seconds = load(&["lines", &host.address, &events.to_string(), "0"]);
    assert_eq!(host.stop(), events, "events in the log");
    events as f64 / seconds
}

/// A handler that reads the body and does nothing.
fn bare(runtime: &Runtime, requests: usize) -> f64 {
    let router = Router::new().route(
        "/v1/events",
        post(async |body: axum::body::Bytes| {
            std::hint::black_box(body);
            (StatusCode::CREATED, "{}")
        }),
    );
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let seconds = load(&["one", &address, &CONNECTIONS.to_string(), &requests.to_string()]);
    server.abort();
    (requests / CONNECTIONS * CONNECTIONS) as f64 / seconds
}

/// Runs the load in another process; the seconds that it took.
pub fn load(arguments: &[&str]) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("load")
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the load failed");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
