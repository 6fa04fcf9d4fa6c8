;; A plugin that takes its events and answers that nothing is to be done: the cost of the border, for
;; `ennio plugin bench`. `empty.wasm` is made of this and of `wit/` by the test in `bench.rs`.
(module
  ;; Strings and lists of a call go to memory above this; the next call begins here again.
  (global $heap (mut i32) (i32.const 1024))
  (memory (export "memory") 1)
  (data (i32.const 0) "0.1.0the empty plugin")

  (func $allocate (param $bytes i32) (param $align i32) (result i32)
    (local $at i32)
    (local $end i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    (block $enough
      (loop $grow
        (br_if $enough (i32.le_u (local.get $end) (i32.shl (memory.size) (i32.const 16))))
        (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
        (unreachable)))
    (global.set $heap (local.get $end))
    (local.get $at))

  (func (export "cabi_realloc")
    (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (call $allocate (local.get $bytes) (local.get $align)))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_bytes))
    (local.get $at))

  (func $reset (param i32)
    (global.set $heap (i32.const 1024)))

  ;; A list of $count zeroed elements of $size bytes: `keep`, or `ok(none)`, for each event.
  (func $zeros (param $count i32) (param $size i32) (result i32)
    (local $bytes i32)
    (local $list i32)
    (local $answer i32)
    (local.set $bytes (i32.mul (local.get $count) (local.get $size)))
    (local.set $list (call $allocate (local.get $bytes) (i32.const 4)))
    (memory.fill (local.get $list) (i32.const 0) (local.get $bytes))
    (local.set $answer (call $allocate (i32.const 8) (i32.const 4)))
    (i32.store (local.get $answer) (local.get $list))
    (i32.store offset=4 (local.get $answer) (local.get $count))
    (local.get $answer))

  (func (export "ennio:plugin/guest@0.1.0#describe") (result i32)
    (local $answer i32)
    (local.set $answer (call $allocate (i32.const 28) (i32.const 4)))
    (memory.fill (local.get $answer) (i32.const 0) (i32.const 28))
    (i32.store offset=4 (local.get $answer) (i32.const 5))
    (i32.store offset=8 (local.get $answer) (i32.const 5))
    (i32.store offset=12 (local.get $answer) (i32.const 16))
    (local.get $answer))
  (func (export "cabi_post_ennio:plugin/guest@0.1.0#describe") (param i32)
    (call $reset (local.get 0)))

  (func (export "ennio:plugin/guest@0.1.0#configure") (result i32)
    (local $answer i32)
    (local.set $answer (call $allocate (i32.const 12) (i32.const 4)))
    (memory.fill (local.get $answer) (i32.const 0) (i32.const 12))
    (local.get $answer))
  (func (export "cabi_post_ennio:plugin/guest@0.1.0#configure") (param i32)
    (call $reset (local.get 0)))

  (func (export "ennio:plugin/filter@0.1.0#filter") (param i32) (param $count i32) (result i32)
    (call $zeros (local.get $count) (i32.const 12)))
  (func (export "cabi_post_ennio:plugin/filter@0.1.0#filter") (param i32)
    (call $reset (local.get 0)))

  (func (export "ennio:plugin/enricher@0.1.0#enrich") (param i32) (param $count i32) (result i32)
    (call $zeros (local.get $count) (i32.const 36)))
  (func (export "cabi_post_ennio:plugin/enricher@0.1.0#enrich") (param i32)
    (call $reset (local.get 0)))

  (func (export "ennio:plugin/reaction@0.1.0#react") (param i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $allocate (i32.const 40) (i32.const 8)))
    (memory.fill (local.get $answer) (i32.const 0) (i32.const 40))
    (local.get $answer))
  (func (export "cabi_post_ennio:plugin/reaction@0.1.0#react") (param i32)
    (call $reset (local.get 0)))
)
