//! Every limit on a plugin, to print. Each is enforced where it says so.

use super::{
    call::{BATCH, MAX_REASON},
    component::MAX_BYTES,
    engine::GUEST_STACK,
    guest::{INSTANCES, MEMORIES, RANDOM_BYTES, RESOURCES, TABLE_ELEMENTS, TABLES},
    instance::{ANSWER_BYTES, HANDLES, LOAD_DEADLINE, RESTART_DEADLINE},
    logging::{BYTES_A_CALL, LINE},
    manifest::Manifest,
};
use crate::event::MAX_ACTIONS;

/// What is bounded, and by how much, for a plugin with this sidecar.
pub fn limits(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let [load, restart] = [LOAD_DEADLINE, RESTART_DEADLINE].map(|time| time.as_secs());
    vec![
        ("component", format!("{} MiB", MAX_BYTES >> 20)),
        ("memory", format!("{} MiB in {MEMORIES} memories", manifest.limits.memory_mib.get())),
        ("tables", format!("{TABLE_ELEMENTS} entries in {TABLES} tables")),
        ("instances", format!("{INSTANCES} core instances")),
        ("stack", format!("{} KiB", GUEST_STACK >> 10)),
        ("handles", format!("{HANDLES} of resources, {RESOURCES} of the host's")),
        (
            "time",
            format!(
                "filter, enrich {} ms, react {} ms; start, configure {load} s, after a failure {restart} s",
                manifest.pipeline_deadline().as_millis(),
                manifest.reaction_deadline().as_millis(),
            ),
        ),
        (
            "answers",
            format!(
                "{} MiB a call of {BATCH} events, {MAX_ACTIONS} actions, reasons of {MAX_REASON} bytes",
                ANSWER_BYTES >> 20,
            ),
        ),
        (
            "log",
            format!(
                "{} lines of {LINE} bytes a second, {} KiB a call",
                manifest.limits.log_lines_per_second.get(),
                BYTES_A_CALL >> 10,
            ),
        ),
        ("random", format!("{} KiB a request", RANDOM_BYTES >> 10)),
    ]
}
