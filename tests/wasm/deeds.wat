    ;; Does what the first letter of the path says.
    (data (i32.const 0) "\"ok\"")
    (data (i32.const 8) "piece\n")
    (data (i32.const 32) "\"calls: 0\"")
    (data (i32.const 48) "a line of the log\n")
    (global $calls (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))
    (global $body (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))
    (table $table 1 funcref)
    ;; Sets the response, and opens its body.
    (func $begin (param $code i32)
      (local $response i32)
      (local.set $response (call $response (call $fields)))
      (drop (call $status (local.get $response) (local.get $code)))
      (call $body (local.get $response) (i32.const 16))
      (global.set $body (i32.load (i32.const 20)))
      (call $set (global.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body-write (global.get $body) (i32.const 16))
      (global.set $stream (i32.load (i32.const 20))))
    (func $put (param $at i32) (param $length i32)
      (call $write (global.get $stream) (local.get $at) (local.get $length) (i32.const 16)))
    (func $end
      (call $drop-output (global.get $stream))
      (call $finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 16)))
    (func $whole (param $code i32) (param $at i32) (param $length i32)
      (call $begin (local.get $code))
      (call $put (local.get $at) (local.get $length))
      (call $end))
    (func $log (param $at i32) (param $length i32)
      (local $stream i32)
      (local.set $stream (call $get-stderr))
      (call $write (local.get $stream) (local.get $at) (local.get $length) (i32.const 16))
      (call $drop-output (local.get $stream)))
    ;; In pieces of at most 4,096 bytes: what one blocking write takes.
    (func $echo (param $request i32)
      (local $input i32) (local $at i32) (local $left i32) (local $now i32)
      (call $consume (local.get $request) (i32.const 16))
      (call $stream (i32.load (i32.const 20)) (i32.const 16))
      (local.set $input (i32.load (i32.const 20)))
      (call $begin (i32.const 200))
      (block $over
        (loop $more
          (call $read (local.get $input) (i64.const 4096) (i32.const 16))
          (br_if $over (i32.load8_u (i32.const 16)))
          (call $put (i32.load (i32.const 20)) (i32.load (i32.const 24)))
          (br $more)))
      (call $end))
    (func $forever (loop $again (br $again)))
    (func $grow-memory
      (loop $again
        (drop (memory.grow (i32.const 16)))
        (br $again)))
    (func $grow-table
      (loop $again
        (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))))
    (func $recurse (result i32) (i32.add (call $recurse) (i32.const 1)))
    ;; Endless pieces of 4,096 bytes.
    (func $flood
      (call $begin (i32.const 200))
      (loop $again
        (call $put (i32.const 4096) (i32.const 4096))
        (br $again)))
    ;; Endless sets of headers, none of which is let go.
    (func $handles (loop $again (drop (call $fields)) (br $again)))
    ;; Each call keeps much on the stack: what is read from memory before is used after.
    (func $frames (param $at i32) (result i64)
      (local i64 i64 i64 i64 i64 i64 i64 i64)
      (local.set 1 (i64.load offset=0 (local.get $at)))
      (local.set 2 (i64.load offset=8 (local.get $at)))
      (local.set 3 (i64.load offset=16 (local.get $at)))
      (local.set 4 (i64.load offset=24 (local.get $at)))
      (local.set 5 (i64.load offset=32 (local.get $at)))
      (local.set 6 (i64.load offset=40 (local.get $at)))
      (local.set 7 (i64.load offset=48 (local.get $at)))
      (local.set 8 (call_indirect $table (param i32) (result i64) (i32.add (local.get $at) (i32.const 1)) (i32.const 0)))
      (i64.add (i64.add (i64.add (local.get 1) (local.get 2)) (i64.add (local.get 3) (local.get 4)))
        (i64.add (i64.add (local.get 5) (local.get 6)) (i64.add (local.get 7) (local.get 8)))))
    (elem (table $table) (i32.const 0) func $frames)
    (func $pieces (param $count i32)
      (call $begin (i32.const 200))
      (loop $again
        (call $put (i32.const 8) (i32.const 6))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $again (local.get $count)))
      (call $end))
    (func $environment
      (local $at i32) (local $end i32)
      (call $get-environment (i32.const 16))
      (local.set $at (i32.load (i32.const 16)))
      (local.set $end (i32.add (local.get $at) (i32.mul (i32.load (i32.const 20)) (i32.const 16))))
      (call $begin (i32.const 200))
      (loop $again
        (i32.store8 (i32.const 64) (i32.const 61))
        (i32.store8 (i32.const 65) (i32.const 10))
        (call $put (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
        (call $put (i32.const 64) (i32.const 1))
        (call $put (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at)))
        (call $put (i32.const 65) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $again (i32.lt_u (local.get $at) (local.get $end))))
      (call $end))
    (func (export "handle") (param $request i32) (param $out i32)
      (local $deed i32)
      (global.set $out (local.get $out))
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $path (local.get $request) (i32.const 16))
      (local.set $deed (i32.load8_u offset=1 (i32.load (i32.const 20))))
      (if (i32.eq (local.get $deed) (i32.const 99)) (then ;; c: calls of this instance
        (i32.store8 (i32.const 40) (i32.add (global.get $calls) (i32.const 48)))
        (call $whole (i32.const 200) (i32.const 32) (i32.const 10)) (return)))
      (if (i32.eq (local.get $deed) (i32.const 101)) (then (call $echo (local.get $request)) (return))) ;; e
      (if (i32.eq (local.get $deed) (i32.const 102)) (then (call $flood) (return))) ;; f
      (if (i32.eq (local.get $deed) (i32.const 103)) (then ;; g: a line of the log
        (call $log (i32.const 48) (i32.const 18))
        (call $whole (i32.const 200) (i32.const 0) (i32.const 4)) (return)))
      (if (i32.eq (local.get $deed) (i32.const 104)) (then (call $handles) (return))) ;; h
      (if (i32.eq (local.get $deed) (i32.const 105)) (then (drop (call $frames (i32.const 64))) (return))) ;; i: indirect calls
      (if (i32.eq (local.get $deed) (i32.const 108)) (then (call $forever) (return))) ;; l
      (if (i32.eq (local.get $deed) (i32.const 109)) (then (call $grow-memory) (return))) ;; m
      (if (i32.eq (local.get $deed) (i32.const 110)) (then (return))) ;; n: nothing
      (if (i32.eq (local.get $deed) (i32.const 112)) (then (call $pieces (i32.const 5)) (return))) ;; p
      (if (i32.eq (local.get $deed) (i32.const 114)) (then (drop (call $recurse)) (return))) ;; r
      (if (i32.eq (local.get $deed) (i32.const 115)) (then ;; s: a status that is no success
        (call $whole (i32.const 503) (i32.const 0) (i32.const 4)) (return)))
      (if (i32.eq (local.get $deed) (i32.const 116)) (then (call $grow-table)
        (call $whole (i32.const 200) (i32.const 0) (i32.const 4)) (return))) ;; t
      (if (i32.eq (local.get $deed) (i32.const 117)) (then unreachable)) ;; u
      (if (i32.eq (local.get $deed) (i32.const 118)) (then (call $environment) (return))) ;; v
      (if (i32.eq (local.get $deed) (i32.const 120)) (then ;; x: trap within the answer
        (call $begin (i32.const 200))
        (call $put (i32.const 8) (i32.const 6))
        unreachable))
      (if (i32.eq (local.get $deed) (i32.const 122)) (then ;; z: endless loop after the answer has begun
        (call $begin (i32.const 200))
        (call $put (i32.const 8) (i32.const 6))
        (call $forever)))
      (call $whole (i32.const 200) (i32.const 0) (i32.const 4)))
