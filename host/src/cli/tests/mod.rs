//! The command from inside: its pure parts, and what it says to a host that is a stub.

mod input;
mod stub;
mod talk;
mod words;

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, answers::Entry};

#[test]
fn the_flags_are_consistent() {
    Cli::command().debug_assert();
}

/// The arguments of a command, as a shell would hand them over.
fn command(words: &[&str]) -> Command {
    Cli::try_parse_from(["ennio"].iter().chain(words)).unwrap().command
}

fn entry(json: serde_json::Value) -> Entry {
    let mut whole = serde_json::json!({
        "id": "0198f2c0-7a52-7000-8000-3c6a0f6f1e11",
        "event_type": "ci_failing",
        "priority": "urgent",
        "session_id": "s-1",
        "project_id": "atlas",
        "timestamp": "2026-08-01T09:30:00.000000Z",
        "message": "unit tests fail",
        "data": null,
        "seq": 7,
        "caused_by": null,
        "hops": 0,
        "dropped_by": null,
        "drop_reason": null,
        "committed_at": "2026-08-01T09:30:00.000001Z",
    });
    for (name, value) in json.as_object().unwrap() {
        whole[name] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}
