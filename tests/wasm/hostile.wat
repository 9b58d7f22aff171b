;; A module for WASI preview 1 that does what the first letter of its input says (after the quotation mark of a JSON string).
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func $forever (loop $again (br $again)))
  (func $grow-memory (loop $again (drop (memory.grow (i32.const 16))) (br $again)))
  (func $grow-table
    (loop $again
      (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))))
  (func $recurse (result i32) (i32.add (call $recurse) (i32.const 1)))
  ;; Endless pieces of 4,096 bytes.
  (func $flood
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.const 4096))
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $again)))
  (func (export "_start")
    (local $deed i32)
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 64))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (local.set $deed (i32.load8_u (i32.const 17)))
    (if (i32.eq (local.get $deed) (i32.const 102)) (then (call $flood))) ;; f
    (if (i32.eq (local.get $deed) (i32.const 108)) (then (call $forever))) ;; l
    (if (i32.eq (local.get $deed) (i32.const 109)) (then (call $grow-memory))) ;; m
    (if (i32.eq (local.get $deed) (i32.const 114)) (then (drop (call $recurse)))) ;; r
    (if (i32.eq (local.get $deed) (i32.const 116)) (then (call $grow-table))) ;; t
    (if (i32.eq (local.get $deed) (i32.const 117)) (then unreachable))) ;; u
)
