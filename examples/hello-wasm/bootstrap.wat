;; A module of WASI preview 1: its answer is its event, and it prints a line. An event that begins with `x` ends it with status 3.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 32) "from a module\n")
  (func $put (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (local $read i32)
    (call $put (i32.const 2) (i32.const 32) (i32.const 14))
    (block $over
      (loop $more
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 65536))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $read (i32.load (i32.const 8)))
        (br_if $over (i32.eqz (local.get $read)))
        (if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const 120)) (then (call $exit (i32.const 3))))
        (call $put (i32.const 1) (i32.const 1024) (local.get $read))
        (br $more)))))
