//! Hostile plugins, and what they achieve: nothing.
//!
//! One table of attacks, one check for all of them. Each attack is a component that behaves until
//! it meets a message that begins with `poison`. It is mounted many times, with each `on_error`,
//! while a neighbour works on every event and a bystander keeps asking the host. Then the poisonous
//! events alone have met `on_error`, everything else was answered as if the attacker were not there,
//! and the host's memory is where it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::harness::{
    Host, Plugins, Setup, eventually, guest, numbered,
    wat::{beginning, enricher, escaped, filter, no_plugin, patching, reaction},
};

/// What the host's memory may have grown by after all of one attack's repetitions. Fifty instances
/// that were not thrown away are more, whatever the attack.
const MARGIN: u64 = 32 << 20;

/// Events of one batch, of which every fifth is poisonous; of those to be dropped or held, every
/// twentieth.
const BATCH: usize = 60;
/// Batches with `on_error = "pass"`: 60 attacks event by event, and 5 on whole batches.
const BATCHES: usize = 5;

struct Attack {
    name: &'static str,
    component: Vec<u8>,
    /// The sidecar's `[limits]`.
    limits: &'static str,
    /// What the plugin's last failure says.
    failure: &'static str,
}

fn attack(
    name: &'static str,
    component: Vec<u8>,
    limits: &'static str,
    failure: &'static str,
) -> Attack {
    Attack { name, component, limits, failure }
}

const SMALL: &str = "memory_mib = 8";
const SHORT: &str = "deadline_ms = 120";
const MISSED: &str = "missed its deadline of 120 ms";

const LOG: &str = r#"(import "wasi:logging/logging@0.1.0-draft" "log"
    (func $log (param i32 i32 i32 i32 i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes"
    (func $random (param i64 i32)))"#;
const CLOCK: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
        (func $subscribe (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))"#;
const HANDLES: &str = r#"(import "[export]ennio:test/flood" "[resource-new]handle"
    (func $new (param i32) (result i32)))"#;
/// What the flooding world wants beside it.
const HANDLES_EXPORT: &str = r#"(func (export "ennio:test/flood#[constructor]handle") (result i32)
    unreachable)"#;

/// Attacks that burn or wait until their deadline.
fn on_time() -> Vec<Attack> {
    vec![
        attack("loop", filter("", "", "(loop $l (br $l)) unreachable"), SHORT, MISSED),
        attack(
            "copy-memory",
            filter(
                "",
                "",
                "(drop (memory.grow (i32.const 960)))
                 (loop $l (memory.copy (i32.const 0) (i32.const 32000000) (i32.const 30000000))
                    (br $l))
                 unreachable",
            ),
            SHORT,
            MISSED,
        ),
        attack("sleep", std::fs::read(guest("sleep-on-poison")).unwrap(), SHORT, MISSED),
        attack(
            "sleep-in-pieces",
            filter(
                CLOCK,
                "(global $poll (mut i32) (i32.const 0))",
                "(loop $l (global.set $poll (call $subscribe (i64.const 1000000)))
                    (call $block (global.get $poll)) (call $drop (global.get $poll)) (br $l))
                 unreachable",
            ),
            SHORT,
            MISSED,
        ),
        attack(
            "poll-what-is-ready",
            filter(
                CLOCK,
                "(global $poll (mut i32) (i32.const 0))",
                "(global.set $poll (call $subscribe (i64.const 0)))
                 (loop $l (call $block (global.get $poll)) (br $l)) unreachable",
            ),
            SHORT,
            MISSED,
        ),
        attack(
            "random-for-ever",
            filter(
                RANDOM,
                "",
                "(loop $l (global.set $heap (i32.const 0x40000))
                    (call $random (i64.const 65536) (i32.const 1064)) (br $l)) unreachable",
            ),
            SHORT,
            MISSED,
        ),
    ]
}

/// Attacks on the log, which end at their deadline as well.
fn on_the_log() -> Vec<Attack> {
    vec![
        attack(
            "log-flood",
            filter(
                LOG,
                "",
                "(loop $l (call $log (i32.const 4) (i32.const 0x100000) (i32.const 7)
                    (i32.const 0x100000) (i32.const 100)) (br $l)) unreachable",
            ),
            SHORT,
            MISSED,
        ),
        attack(
            "log-flood-of-contexts",
            filter(
                LOG,
                "",
                "(loop $l (call $log (i32.const 2) (i32.const 0x100000) (i32.const 1000000)
                    (i32.const 1024) (i32.const 0)) (br $l)) unreachable",
            ),
            SHORT,
            MISSED,
        ),
        attack(
            "log-line-of-a-gigabyte",
            filter(
                LOG,
                "",
                "(drop (memory.grow (i32.const 15000)))
                 (call $log (i32.const 2) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 900000000)) unreachable",
            ),
            "memory_mib = 1024",
            "fuel",
        ),
        attack("stdout-flood", std::fs::read(guest("stdout-flood")).unwrap(), SHORT, MISSED),
    ]
}

/// Attacks on the host's memory and tables.
fn on_space() -> Vec<Attack> {
    vec![
        attack(
            "recursion",
            filter("", "", "(i32.add (call $attack (local.get 0) (local.get 1)) (i32.const 1))"),
            SMALL,
            "call stack exhausted",
        ),
        attack(
            "memory-bomb",
            filter(
                "",
                "",
                "(loop $l
                    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                    (memory.fill (i32.sub (i32.mul (memory.size) (i32.const 65536))
                        (i32.const 1048576)) (i32.const 1) (i32.const 1048576))
                    (br $l)) unreachable",
            ),
            "memory_mib = 64",
            "unreachable",
        ),
        attack(
            "memories-bomb",
            filter(
                "",
                "(memory $a 1) (memory $b 1) (memory $c 1)",
                "(drop (memory.grow $a (i32.const 80))) (drop (memory.grow $b (i32.const 80)))
                 (drop (memory.grow $c (i32.const 80)))
                 ;; Behaves when it got more than it should, and is found out.
                 (if (i32.gt_u (i32.add (memory.size) (i32.add (memory.size $a)
                    (i32.add (memory.size $b) (memory.size $c)))) (i32.const 128))
                    (then (return (call $list (local.get $n) (i32.const 12)))))
                 unreachable",
            ),
            SMALL,
            "unreachable",
        ),
        attack(
            "table-bomb",
            filter(
                "",
                "(table $a 1 funcref) (table $b 1 funcref)",
                "(loop $l (br_if $l (i32.ne (i32.const -1)
                    (table.grow $a (ref.null func) (i32.const 10000)))))
                 (loop $l (br_if $l (i32.ne (i32.const -1)
                    (table.grow $b (ref.null func) (i32.const 10000)))))
                 (if (i32.gt_u (i32.add (table.size $a) (table.size $b)) (i32.const 100000))
                    (then (return (call $list (local.get $n) (i32.const 12)))))
                 unreachable",
            ),
            SMALL,
            "unreachable",
        ),
        attack(
            "garbage-bomb",
            filter(
                "",
                "(type $bytes (array (mut i8)))
                 (type $node (struct (field (ref null $node)) (field (ref $bytes))))",
                "(local $all (ref null $node))
                 (loop $l (local.set $all (struct.new $node (local.get $all)
                    (array.new $bytes (i32.const 1) (i32.const 1000000)))) (br $l))
                 unreachable",
            ),
            SMALL,
            "GC heap out of memory",
        ),
        attack(
            "pollables-for-ever",
            filter(
                CLOCK,
                "",
                "(loop $l (drop (call $subscribe (i64.const 1))) (br $l)) unreachable",
            ),
            SMALL,
            "no free keys",
        ),
        attack(
            "handles-for-ever",
            filter(
                HANDLES,
                HANDLES_EXPORT,
                "(loop $l (drop (call $new (i32.const 1))) (br $l)) unreachable",
            ),
            SMALL,
            "handle limit exceeded",
        ),
        attack(
            "random-gigabyte",
            filter(
                RANDOM,
                "",
                "(call $random (i64.const 1073741824) (i32.const 1064)) unreachable",
            ),
            SMALL,
            "exceeds limit 65536",
        ),
        attack(
            "100-mb-of-reasons",
            filter(
                "",
                "",
                "(drop (memory.grow (i32.const 1600)))
                 (drop (call $list (local.get $n) (i32.const 12)))
                 (loop $l (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (i32.store8 offset=2048 (i32.mul (local.get $n) (i32.const 12)) (i32.const 1))
                    (i32.store offset=2056 (i32.mul (local.get $n) (i32.const 12))
                        (i32.const 100000000))
                    (br_if $l (local.get $n)))
                 (i32.const 1040)",
            ),
            "memory_mib = 128",
            "fuel",
        ),
        attack(
            "a-million-verdicts",
            filter(
                "",
                "",
                "(drop (memory.grow (i32.const 200)))
                 (drop (call $list (local.get $n) (i32.const 12)))
                 (i32.store (i32.const 1044) (i32.const 1000000)) (i32.const 1040)",
            ),
            "memory_mib = 64",
            "fuel",
        ),
    ]
}

/// Answers that are none.
fn on_the_border() -> Vec<Attack> {
    let count = |change: &str| {
        filter(
            "",
            "",
            &format!("(call $list ({change} (local.get $n) (i32.const 1)) (i32.const 12))"),
        )
    };
    let list_then = |store: &str| {
        filter(
            "",
            "",
            &format!("(drop (call $list (local.get $n) (i32.const 12))) {store} (i32.const 1040)"),
        )
    };
    vec![
        attack("trap", filter("", "", "unreachable"), SMALL, "unreachable"),
        attack(
            "trap-rust",
            std::fs::read(guest("trap-on-poison")).unwrap(),
            SMALL,
            "poison in event",
        ),
        attack(
            "out-of-bounds",
            filter("", "", "(i32.load (i32.const -8))"),
            SMALL,
            "out of bounds memory access",
        ),
        attack(
            "uncaught-exception",
            filter("", "(tag $e)", "(throw $e)"),
            SMALL,
            "thrown Wasm exception",
        ),
        attack("too-few-verdicts", count("i32.sub"), SMALL, "0 verdicts for 1 events"),
        attack("too-many-verdicts", count("i32.add"), SMALL, "2 verdicts for 1 events"),
        attack(
            "unheard-of-verdict",
            list_then("(i32.store8 (i32.const 2048) (i32.const 7))"),
            SMALL,
            "unexpected discriminant",
        ),
        attack(
            "reason-not-utf-8",
            list_then(
                "(i32.store8 (i32.const 2048) (i32.const 1))
                 (i32.store8 (i32.const 4096) (i32.const 255))
                 (i32.store (i32.const 2052) (i32.const 4096))
                 (i32.store (i32.const 2056) (i32.const 1))",
            ),
            SMALL,
            "invalid utf-8",
        ),
        attack(
            "reason-out-of-bounds",
            list_then(
                "(i32.store8 (i32.const 2048) (i32.const 1))
                 (i32.store (i32.const 2052) (i32.const -2))
                 (i32.store (i32.const 2056) (i32.const 100))",
            ),
            SMALL,
            "out of bounds of memory",
        ),
        attack(
            "answer-out-of-bounds",
            filter("", "", "(i32.const -8)"),
            SMALL,
            "out of bounds of memory",
        ),
        attack("answer-not-aligned", filter("", "", "(i32.const 1041)"), SMALL, "not aligned"),
    ]
}

/// Patches that break an event.
fn on_the_event() -> Vec<Attack> {
    let data = |name, text: &str, failure| {
        attack(name, enricher(text.as_bytes(), &patching(24, text.len())), SMALL, failure)
    };
    let message = |name, text: &str, failure| {
        attack(name, enricher(text.as_bytes(), &patching(12, text.len())), SMALL, failure)
    };
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    vec![
        data("no-json", "{\"half\": ", "data not valid JSON"),
        data("nul-in-json", "{\"x\":\"\0\"}", "data not valid JSON"),
        data("number-too-large", "{\"x\":1e999}", "data"),
        data("half-a-surrogate", r#"{"x":"\ud800"}"#, "data"),
        data("too-deep", &deep, "data nested deeper than 64 levels"),
        data("bottomless", &"[".repeat(200_000), "data"),
        data("data-too-large", &format!("{{\"x\":\"{}\"}}", "x".repeat(256 << 10)), "data"),
        data("hollow-patch", &format!("{{\"x\":{}1}}", " ".repeat(256 << 10)), "data"),
        message("message-too-long", &"x".repeat((8 << 10) + 1), "message too long"),
        message("nul-in-message", "a\0b", "message"),
        attack(
            "reason-without-end",
            enricher(
                &[b'x'; 200_000],
                "(i32.store8 (local.get $answer) (i32.const 1))
                 (i32.store offset=4 (local.get $answer) (i32.const 0x10000))
                 (i32.store offset=8 (local.get $answer) (i32.const 200000))",
            ),
            SMALL,
            "failed: xxx",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_time_takes_it_from_nobody() {
    check(on_time()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_the_log_is_not_listened_to() {
    let output = check(on_the_log()).await;
    // Some 200 attacks, each of which would have said as much as it could.
    assert!(output.len() < 4 << 20, "{} bytes of log", output.len());
    assert!(output.contains("says more than 200 lines a second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_space_gets_its_share_and_gives_it_back() {
    check(on_space()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_nonsense_has_not_answered() {
    check(on_the_border()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_an_event_does_not_get_it_changed() {
    check(on_the_event()).await;
}

/// What a reaction wants emitted: good, where nothing else is said.
struct Emission {
    event_type: &'static str,
    session: Option<&'static [u8]>,
    project: Option<&'static [u8]>,
    message: Vec<u8>,
    data: Vec<u8>,
    /// How often.
    count: usize,
}

impl Default for Emission {
    fn default() -> Self {
        Self {
            event_type: "custom.noise",
            session: None,
            project: None,
            message: Vec::new(),
            data: b"null".to_vec(),
            count: 1,
        }
    }
}

impl Emission {
    /// A reaction that answers poison with it.
    fn component(self) -> Vec<u8> {
        let mut at = 0x50000;
        let mut fields = String::new();
        let mut fill = String::new();
        let mut text = |offset: usize, is_option: bool, bytes: Option<&[u8]>| {
            let Some(bytes) = bytes else { return };
            let offset = match is_option {
                true => {
                    fill += &format!("(i32.store8 offset={offset} (local.get $at) (i32.const 1))");
                    offset + 4
                }
                false => offset,
            };
            let length = bytes.len();
            fields += &format!("(data (i32.const {at}) \"{}\")", escaped(bytes));
            fill += &format!(
                "(i32.store offset={offset} (local.get $at) (i32.const {at}))
                 (i32.store offset={} (local.get $at) (i32.const {length}))",
                offset + 4
            );
            at += length;
        };
        text(4, false, Some(self.event_type.as_bytes()));
        text(16, true, self.session);
        text(28, true, self.project);
        text(40, false, Some(&self.message));
        text(48, false, Some(&self.data));
        let count = self.count;
        let answer = format!(
            "(local $at i32) (local $left i32)
             (local.set $at (i32.const 0x10000)) (local.set $left (i32.const {count}))
             (memory.fill (i32.const 0x10000) (i32.const 0) (i32.const 0x10000))
             (loop $next {fill}
                (local.set $at (i32.add (local.get $at) (i32.const 56)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $next (local.get $left)))
             (i32.store (i32.const 1048) (i32.const 0x10000))
             (i32.store (i32.const 1052) (i32.const {count}))
             (i32.const 1040)"
        );
        let fields = format!("{fields} (func $answer (result i32) {answer})");
        // Nothing is wrong with the instance afterwards.
        reaction(&fields, "(global.set $tainted (i32.const 0)) (return (call $answer))")
    }
}

/// Reactions whose answers cannot be done.
fn on_reactions() -> Vec<Attack> {
    let emits = |name, emission: Emission, failure| attack(name, emission.component(), "", failure);
    let fails = |name, text: &str, failure| attack(name, reaction("", text), SHORT, failure);
    let base = Emission::default;
    vec![
        emits("33-actions", Emission { count: 33, ..base() }, "33 actions for one event"),
        emits("unheard-of-type", Emission { event_type: "party", ..base() }, "party"),
        emits(
            "forged-type",
            Emission { event_type: "custom.a.b", ..base() },
            "event_type: holds '.'",
        ),
        emits("forged-project", Emission { project: Some(b"a.*.>"), ..base() }, "project"),
        emits("nul-in-session", Emission { session: Some(b"s\0"), ..base() }, "session"),
        emits("long-message", Emission { message: vec![b'x'; 8193], ..base() }, "message"),
        emits("nul-in-message", Emission { message: b"a\0b".to_vec(), ..base() }, "message"),
        emits("no-json", Emission { data: b"{".to_vec(), ..base() }, "data"),
        emits("large-data", Emission { data: large_json(), ..base() }, "data"),
        emits("deep-data", Emission { data: deep_json(), ..base() }, "data"),
        emits("not-granted", Emission { event_type: "pr_created", ..base() }, "not granted"),
        fails("trap", "unreachable", "unreachable"),
        fails("loop", "(loop $l (br $l)) unreachable", MISSED),
        fails("answer-out-of-bounds", "(return (i32.const -8))", "trapped"),
        fails(
            "a-million-actions",
            "(i32.store (i32.const 1048) (i32.const 2048)) (i32.store (i32.const 1052)
                (i32.const 1000000)) (return (i32.const 1040))",
            "trapped",
        ),
        fails(
            "fatal-without-end",
            "(global.set $tainted (i32.const 0))
             (memory.fill (i32.const 0x10000) (i32.const 120) (i32.const 500000))
             (i32.store (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1048) (i32.const 1))
             (i32.store (i32.const 1056) (i32.const 0x10000))
             (i32.store (i32.const 1060) (i32.const 500000)) (return (i32.const 1040))",
            "xxx",
        ),
    ]
}

fn large_json() -> Vec<u8> {
    format!("{{\"x\":\"{}\"}}", "x".repeat(256 << 10)).into_bytes()
}

fn deep_json() -> Vec<u8> {
    format!("{}{}", "[".repeat(65), "]".repeat(65)).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reaction_cannot_have_becomes_a_dead_letter() {
    const ROUNDS: usize = 5;
    let attacks = on_reactions();
    let plugins = Plugins::new().with_sidecar("neighbour", "tag-v1", "order = 99\n");
    for attack in &attacks {
        let name = attack.name;
        plugins.write(
            &format!("{name}.toml"),
            format!(
                "subscribe = [\"ennio.*.{name}.>\"]\n[capabilities]\nemit = [\"ennio.custom.>\"]\n\
                 [reaction]\nretries = 0\n[limits]\n{}\n",
                attack.limits
            ),
        );
        plugins.write(&format!("{name}.wasm"), &attack.component);
    }
    let setup = Setup::new().plugins(plugins.path());
    let host = Arc::new(setup.start());
    let bystander = Bystander::start(&host);
    for attack in &attacks {
        let name = attack.name;
        let mut poisoned = Vec::new();
        let mut before = 0;
        for round in 0..ROUNDS {
            let lines: Vec<Value> = (0..BATCH)
                .map(|n| {
                    let mut event = numbered(round * BATCH + n);
                    event["project_id"] = name.into();
                    if n % 5 == 3 {
                        event["message"] = "poison".into();
                    }
                    event
                })
                .collect();
            for (n, receipt) in host.publish_lines(&lines).await.iter().enumerate() {
                assert_eq!(receipt["status"], "accepted", "{name}: {receipt}");
                if n % 5 == 3 {
                    poisoned.push(receipt["seq"].as_i64().unwrap());
                }
            }
            let last = poisoned.len();
            eventually(&format!("{last} dead letters of {name}"), async || {
                (dead_letters(&setup, name).len() == last).then_some(())
            })
            .await;
            if round == 0 {
                before = host.resident_bytes();
            }
        }
        let letters = dead_letters(&setup, name);
        let places: Vec<i64> = letters.iter().map(|letter| letter.0).collect();
        assert_eq!(places, poisoned, "{name}: the poisonous events alone");
        for (_, reason) in &letters {
            assert!(reason.contains(attack.failure), "{name}: {reason}");
            assert!(reason.len() < 2048, "{name}: {} bytes of reason", reason.len());
        }
        let what = format!("memory after {name} is back at {before} bytes");
        eventually(&what, async || (host.resident_bytes() < before + MARGIN).then_some(())).await;
    }
    bystander.end().await;
    host.settled().await;
    let log = host.log().await;
    assert!(log.iter().all(|entry| entry["data"]["tag"] == "v1" && entry["hops"] == 0));
}

/// Place and reason, by place.
fn dead_letters(setup: &Setup, plugin: &str) -> Vec<(i64, String)> {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let mut find = database
        .prepare("SELECT event_seq, reason FROM dead_letters WHERE plugin = ? ORDER BY event_seq")
        .unwrap();
    let rows = find.query_map([plugin], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Components that do not even begin well: name, component, `[limits]`, the step and the reason.
fn on_beginnings() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let starting = |fields: &str| beginning("", fields, "", "");
    vec![
        ("start-traps", starting("(func $s unreachable) (start $s)"), "instantiate", "unreachable"),
        ("memory-from-the-start", starting("(memory $big 2000)"), "instantiate", "memory"),
        ("table-from-the-start", starting("(table 200000 funcref)"), "instantiate", "table"),
        ("describe-traps", beginning("", "", "unreachable", ""), "describe", "unreachable"),
        (
            "describes-without-end",
            beginning(
                "",
                "",
                "(i32.store (i32.const 1040) (i32.const 0x10000)) (i32.store (i32.const 1044)
                    (i32.const 1000000)) (i32.store (i32.const 1056) (i32.const 2048))
                 (i32.store (i32.const 1060) (i32.const 1000)) (i32.const 1040)",
                "",
            ),
            "describe",
            "1000 patterns",
        ),
        ("configure-traps", beginning("", "", "", "unreachable"), "configure", "unreachable"),
        (
            "configure-refuses",
            beginning(
                "",
                "",
                "",
                "(memory.fill (i32.const 0x10000) (i32.const 120) (i32.const 1000000))
                 (i32.store8 (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1044)
                    (i32.const 0x10000)) (i32.store (i32.const 1048) (i32.const 1000000))
                 (i32.const 1040)",
            ),
            "configure",
            "xxx",
        ),
        ("no-plugin", no_plugin(), "roles", "exports none"),
        (
            "wants-too-much",
            beginning(r#"(import "unheard-of" "rumour" (func $r))"#, "(func (call $r))", "", ""),
            "link",
            "unheard-of",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_begin_is_not_begun_with() {
    const COPIES: usize = 50;
    let plugins = Plugins::new().with_sidecar("neighbour", "tag-v1", "order = 99\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = Arc::new(setup.start());
    let bystander = Bystander::start(&host);
    let mut before = 0;
    for (name, component, step, reason) in on_beginnings() {
        let copies: Vec<String> = (0..COPIES).map(|n| format!("{name}-{n}")).collect();
        for copy in &copies {
            plugins.write(&format!("{copy}.wasm"), &component);
        }
        for copy in &copies {
            let failed =
                host.plugin_where(copy, copy, |plugin| plugin["load_error"].is_string()).await;
            let error = failed["load_error"].as_str().unwrap();
            assert!(error.contains(&format!("{step}: ")) && error.contains(reason), "{error}");
            assert!(error.len() < 2048, "{} bytes of reason", error.len());
        }
        for copy in &copies {
            std::fs::remove_file(plugins.file(&format!("{copy}.wasm"))).unwrap();
        }
        eventually("they are forgotten", async || {
            (host.get("/v1/plugins").await.1["plugins"].as_array().unwrap().len() == 1)
                .then_some(())
        })
        .await;
        if before == 0 {
            // The first ones warm up whatever is kept for good.
            before = host.resident_bytes();
        }
        let what = format!("memory after {name} is back at {before} bytes");
        eventually(&what, async || (host.resident_bytes() < before + MARGIN).then_some(())).await;
    }
    bystander.end().await;
}

/// Each hangs for the ten seconds that a version has to begin in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_begins_is_given_up_while_the_rest_goes_on() {
    const HANG: &str = "(loop $l (br $l)) unreachable";
    let plugins = Plugins::new().with_sidecar("neighbour", "tag-v1", "order = 99\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = Arc::new(setup.start());
    let bystander = Bystander::start(&host);
    let hangs = [
        ("instantiate", beginning("", &format!("(func $s {HANG}) (start $s)"), "", "")),
        ("describe", beginning("", "", HANG, "")),
        ("configure", beginning("", "", "", HANG)),
    ];
    for (step, component) in &hangs {
        plugins.write(&format!("{step}.wasm"), component);
    }
    for (step, _) in &hangs {
        let failed = host.plugin_where(step, step, |plugin| plugin["load_error"].is_string()).await;
        let error = failed["load_error"].as_str().unwrap();
        assert!(error.contains(&format!("{step}: missed its deadline")), "{error}");
    }
    bystander.end().await;
}

/// The negative control: what the check expects of an attacker is not true of an honest plugin,
/// and it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_finds_out_an_attack_that_was_none() {
    let honest = attack(
        "honest",
        filter("", "", "(call $list (local.get $n) (i32.const 12))"),
        SMALL,
        "trapped",
    );
    let field = Field::new(vec![honest]);
    let host = field.setup.start();
    for on_error in OnError::ALL {
        let faults = field.assault(&host, &field.attacks[0], on_error, 0).await;
        assert!(!faults.is_empty(), "{on_error:?}");
    }
    // And so is one that hurts an event beside the poisonous one.
    let rude = filter(
        "",
        "",
        "(call $list (local.get $n) (i32.const 12)) (i32.store8 (i32.const 2048) (i32.const 1))",
    );
    let rude = attack("rude", rude, SMALL, "");
    let field = Field::new(vec![rude]);
    let host = field.setup.start();
    let faults = field.assault(&host, &field.attacks[0], OnError::Pass, 0).await;
    assert!(faults.iter().any(|fault| fault.contains("event 0 ")), "{faults:?}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Pass,
    Drop,
    Hold,
}

impl OnError {
    const ALL: [Self; 3] = [Self::Pass, Self::Drop, Self::Hold];

    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Hold => "hold",
        }
    }
}

/// A host with every attacker of a table loaded three times, and a neighbour behind them.
struct Field {
    attacks: Vec<Attack>,
    setup: Setup,
    /// Lives as long as the host that watches it.
    _plugins: Plugins,
}

impl Field {
    fn new(attacks: Vec<Attack>) -> Self {
        let plugins = Plugins::new().with_sidecar("neighbour", "tag-v1", "order = 99\n");
        for attack in &attacks {
            for on_error in OnError::ALL {
                let name = attacker(attack, on_error);
                let sidecar = format!(
                    "on_error = \"{}\"\nsubscribe = [\"ennio.*.{name}.>\"]\n[limits]\n{}\n",
                    on_error.name(),
                    attack.limits
                );
                plugins.write(&format!("{name}.toml"), sidecar);
                plugins.write(&format!("{name}.wasm"), &attack.component);
            }
        }
        let setup = Setup::new().plugins(plugins.path());
        Self { attacks, setup, _plugins: plugins }
    }

    /// Sends one batch, and tells everything about it that is not as it has to be.
    async fn assault(
        &self,
        host: &Host,
        attack: &Attack,
        on_error: OnError,
        round: usize,
    ) -> Vec<String> {
        let project = attacker(attack, on_error);
        let each = if on_error == OnError::Pass { 5 } else { 20 };
        let is_poison = |n: usize| n % each == 3;
        let lines: Vec<Value> = (0..BATCH)
            .map(|n| {
                let mut event = numbered(round * BATCH + n);
                event["project_id"] = (&*project).into();
                if is_poison(n) {
                    event["message"] = format!("poison {n}").into();
                }
                event
            })
            .collect();
        let receipts = host.publish_lines(&lines).await;
        let path = format!("/v1/events?project={project}&include_dropped=true&limit=500");
        let (_, log) = host.get(&path).await;
        let log = log["events"].as_array().unwrap();
        let mut faults = Vec::new();
        let mut fault = |n: usize, what: &str, found: &Value| {
            faults.push(format!("{project}: event {n} {what}: {found}"));
        };
        for (n, (event, receipt)) in lines.iter().zip(&receipts).enumerate() {
            let entry = log.iter().find(|entry| entry["id"] == event["id"]);
            let fate = if is_poison(n) { on_error } else { OnError::Pass };
            match (fate, entry) {
                (OnError::Hold, None) if receipt["status"] == 503 => {}
                (OnError::Hold, _) => fault(n, "was to be held", receipt),
                (_, None) => fault(n, "was to be stored", receipt),
                (OnError::Pass, Some(entry)) => {
                    if receipt["status"] != "accepted" || !entry["dropped_by"].is_null() {
                        fault(n, "was to be accepted", entry);
                    }
                    if entry["data"]["tag"] != "v1" || entry["message"] != event["message"] {
                        fault(n, "did not come whole to the neighbour", entry);
                    }
                }
                (OnError::Drop, Some(entry)) => {
                    let reason = entry["drop_reason"].as_str().unwrap_or_default();
                    if receipt["status"] != "dropped"
                        || entry["dropped_by"] != *project
                        || !reason.contains("on_error")
                        || reason.len() > 1100
                    {
                        fault(n, "was to be dropped", entry);
                    }
                }
            }
        }
        let status = host.plugin(&project).await.unwrap();
        if !status["last_error"].as_str().is_some_and(|error| error.contains(attack.failure)) {
            fault(0, "did not make it fail as expected", &status);
        }
        if status["state"] != "running" {
            fault(0, "left the plugin alone", &status);
        }
        faults
    }
}

fn attacker(attack: &Attack, on_error: OnError) -> String {
    format!("{}-{}", attack.name, on_error.name())
}

/// Mounts every attack; gives what the host said meanwhile.
async fn check(attacks: Vec<Attack>) -> String {
    let field = Field::new(attacks);
    let host = Arc::new(field.setup.start());
    let bystander = Bystander::start(&host);
    for attack in &field.attacks {
        // The first round warms up whatever is kept for good.
        let mut faults = field.assault(&host, attack, OnError::Pass, 0).await;
        let before = host.resident_bytes();
        for round in 1..BATCHES {
            faults.extend(field.assault(&host, attack, OnError::Pass, round).await);
        }
        for on_error in [OnError::Drop, OnError::Hold] {
            faults.extend(field.assault(&host, attack, on_error, 0).await);
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let what = format!("memory after {} is back at {before} bytes", attack.name);
        eventually(&what, async || (host.resident_bytes() < before + MARGIN).then_some(())).await;
    }
    bystander.end().await;
    Arc::into_inner(host).unwrap().interrupt()
}

/// Somebody who works with the host all the time, and is never refused.
struct Bystander {
    done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<usize>,
}

impl Bystander {
    fn start(host: &Arc<Host>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (host, done) = (Arc::clone(host), Arc::clone(&done));
            async move {
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) {
                    let (status, receipt) = host.publish(&numbered(rounds)).await;
                    assert_eq!((status, &receipt["status"]), (201, &"accepted".into()));
                    let id = receipt["id"].as_str().unwrap();
                    let (_, entry) = host.get(&format!("/v1/events/{id}")).await;
                    assert_eq!(entry["data"]["tag"], "v1", "the neighbour works for everybody");
                    assert_eq!(host.get("/readyz").await.0, 200);
                    rounds += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                rounds
            }
        });
        Self { done, task }
    }

    async fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        assert!(self.task.await.unwrap() > 0);
    }
}
