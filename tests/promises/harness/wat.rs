//! Components from WebAssembly text: small, and free to say over the canonical ABI what no
//! toolchain would.

use std::{path::Path, sync::OnceLock};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What core modules may import and export, beside the contract in `wit/`. Of WASI only what the
/// guests here abuse.
const WORLDS: &str = r#"
    package ennio:test;

    interface flood { resource handle { constructor(); } }

    world base {
        import wasi:logging/logging@0.1.0-draft;
        import wasi:random/random@0.2.0;
        import wasi:io/poll@0.2.0;
        import wasi:clocks/monotonic-clock@0.2.0;
        import unheard-of: interface { rumour: func(); }
        export ennio:plugin/guest@0.1.0;
    }
    world filter { include base; export ennio:plugin/filter@0.1.0; }
    world flooding-filter { include filter; export flood; }
    world enricher { include base; export ennio:plugin/enricher@0.1.0; }
    world reaction { include base; export ennio:plugin/reaction@0.1.0; }
    world nothing { include base; }
"#;
const WASI_IO: &str = "package wasi:io@0.2.0;
    interface poll { resource pollable { block: func(); } }";
const WASI_CLOCKS: &str = "package wasi:clocks@0.2.0;
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }";
const WASI_RANDOM: &str = "package wasi:random@0.2.0;
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }";

fn resolve() -> &'static Resolve {
    static RESOLVE: OnceLock<Resolve> = OnceLock::new();
    RESOLVE.get_or_init(|| {
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
        for (name, text) in [
            ("io.wit", WASI_IO),
            ("clocks.wit", WASI_CLOCKS),
            ("random.wit", WASI_RANDOM),
            ("worlds.wit", WORLDS),
        ] {
            resolve.push_str(name, text).unwrap();
        }
        resolve
    })
}

/// The component of the core module `text` in the world `world`.
pub fn component(world: &str, text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let resolve = resolve();
    let (package, _) = resolve.packages.iter().find(|(_, p)| p.name.name == "test").unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// What every guest below is made of: memory, an allocator that is emptied after each call, and a
/// look for `poison` at the beginning of an event's message. Zeroes at 1024 are an empty
/// description and a good configuration.
fn base(describe: &str, configure: &str) -> String {
    format!(
        r#"
        (memory (export "memory") 32)
        (global $heap (mut i32) (i32.const 0x40000))
        (global $tainted (mut i32) (i32.const 0))
        (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at
                (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get $size)))
            (block $fits (loop $grow
                (br_if $fits (i32.le_u (global.get $heap)
                    (i32.mul (memory.size) (i32.const 65536))))
                (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
                unreachable))
            (local.get $at))
        (func (export "ennio:plugin/guest@0.1.0#describe") (result i32) {describe})
        (func (export "ennio:plugin/guest@0.1.0#configure") (result i32) {configure})
        ;; Whether the event's message begins with "poison".
        (func $is_poison (param $event i32) (result i32)
            (if (result i32) (i32.ge_u (i32.load offset=48 (local.get $event)) (i32.const 6))
                (then (i64.eq
                    (i64.and (i64.load (i32.load offset=44 (local.get $event)))
                        (i64.const 0xffffffffffff))
                    (i64.const 0x6e6f73696f70)))
                (else (i32.const 0))))
        (func $any_poison (param $events i32) (param $n i32) (result i32)
            (local $found i32)
            (block $end (loop $next
                (br_if $end (i32.eqz (local.get $n)))
                (local.set $found
                    (i32.or (local.get $found) (call $is_poison (local.get $events))))
                (local.set $events (i32.add (local.get $events) (i32.const 60)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br $next)))
            (local.get $found))
        ;; Marks this instance: whoever calls it again after the attack is found out. The megabyte
        ;; is made resident, so that an instance that is not thrown away shows.
        (func $taint
            (global.set $tainted (i32.const 1))
            (memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0x100000)))
        ;; A list at 1040 of $n items at 2048, all zeroes.
        (func $list (param $n i32) (param $size i32) (result i32)
            (memory.fill (i32.const 2048) (i32.const 0)
                (i32.mul (local.get $n) (local.get $size)))
            (i32.store (i32.const 1040) (i32.const 2048))
            (i32.store (i32.const 1044) (local.get $n))
            (i32.const 1040))
        "#
    )
}

/// Nothing to say, and configured.
const GOOD: &str = "(i32.const 1024)";

/// A filter that keeps all, until a batch with poison in it: then `attack` answers, whose parameters
/// are `$events` and `$n`. `fields` are its own imports, tables, functions.
pub fn filter(imports: &str, fields: &str, attack: &str) -> Vec<u8> {
    let world = if imports.contains("resource-new") { "flooding-filter" } else { "filter" };
    let base = base(GOOD, GOOD);
    let text = format!(
        r#"(module {imports} {base} {fields}
            (func $attack (param $events i32) (param $n i32) (result i32) {attack})
            (func (export "ennio:plugin/filter@0.1.0#filter")
                (param $events i32) (param $n i32) (result i32)
                (local $list i32)
                (global.set $heap (i32.const 0x40000))
                (if (call $any_poison (local.get $events) (local.get $n)) (then
                    (call $taint)
                    (return (call $attack (local.get $events) (local.get $n)))))
                (local.set $list (call $list (local.get $n) (i32.const 12)))
                ;; Drops the first event, when it is called after an attack.
                (i32.store8 (i32.const 2048) (global.get $tainted))
                (local.get $list)))"#
    );
    component(world, &text)
}

/// An enricher that leaves all as it is but a poisonous event, whose answer (at `$answer`, zeroed:
/// `ok(none)`) `attack` fills. `text` lies at 0x10000.
pub fn enricher(text: &[u8], attack: &str) -> Vec<u8> {
    enricher_with(text, "(call $is_poison (local.get $events))", attack)
}

/// An enricher that merges the JSON `patch` into every event.
pub fn tagger(patch: &str) -> Vec<u8> {
    let attack = patching(24, patch.len());
    enricher_with(patch.as_bytes(), "(i32.const 1)", &attack)
}

/// Instructions that make the answer a patch with the text at 0x10000 as `message` (field 12) or
/// `data` (field 24).
pub fn patching(field: u32, length: usize) -> String {
    format!(
        "(i32.store8 offset=4 (local.get $answer) (i32.const 1))
         (i32.store8 offset={field} (local.get $answer) (i32.const 1))
         (i32.store offset={} (local.get $answer) (i32.const 0x10000))
         (i32.store offset={} (local.get $answer) (i32.const {length}))",
        field + 4,
        field + 8
    )
}

fn enricher_with(text: &[u8], when: &str, attack: &str) -> Vec<u8> {
    // The text may reach into the heap's beginning, which is behind it then.
    let heap = (0x10000 + text.len()).max(0x40000);
    let base = base(GOOD, GOOD).replace("0x40000", &heap.to_string());
    let data = escaped(text);
    let text = format!(
        r#"(module {base}
            (data (i32.const 0x10000) "{data}")
            (func (export "ennio:plugin/enricher@0.1.0#enrich")
                (param $events i32) (param $n i32) (result i32)
                (local $answer i32) (local $list i32)
                (global.set $heap (i32.const {heap}))
                (local.set $list (call $list (local.get $n) (i32.const 36)))
                (local.set $answer (i32.const 2048))
                (block $end (loop $next
                    (br_if $end (i32.eqz (local.get $n)))
                    (if {when} (then {attack}))
                    (local.set $events (i32.add (local.get $events) (i32.const 60)))
                    (local.set $answer (i32.add (local.get $answer) (i32.const 36)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br $next)))
                (local.get $list)))"#
    );
    component("enricher", &text)
}

/// A reaction that does nothing but to a poisonous event, which `attack` answers.
pub fn reaction(fields: &str, attack: &str) -> Vec<u8> {
    let base = base(GOOD, GOOD);
    let text = format!(
        r#"(module {base} {fields}
            (func (export "ennio:plugin/reaction@0.1.0#react") (param $delivery i32) (result i32)
                (global.set $heap (i32.const 0x40000))
                (if (call $is_poison (local.get $delivery)) (then (call $taint) {attack}))
                (if (global.get $tainted) (then unreachable))
                (i32.const 1024)))"#
    );
    component("reaction", &text)
}

/// A filter that keeps all, with its own way to begin: `fields`, `describe` and `configure`.
pub fn beginning(imports: &str, fields: &str, describe: &str, configure: &str) -> Vec<u8> {
    let or_good = |text: &str| if text.is_empty() { GOOD.to_owned() } else { text.to_owned() };
    let base = base(&or_good(describe), &or_good(configure));
    let text = format!(
        r#"(module {imports} {base} {fields}
            (func (export "ennio:plugin/filter@0.1.0#filter") (param i32 i32) (result i32)
                (call $list (local.get 1) (i32.const 12))))"#
    );
    component("filter", &text)
}

/// A component that is no plugin.
pub fn no_plugin() -> Vec<u8> {
    component("nothing", &format!("(module {})", base(GOOD, GOOD)))
}

/// Bytes as WebAssembly text has them.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
