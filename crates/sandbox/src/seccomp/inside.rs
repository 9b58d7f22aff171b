//! Tests: the filter as a program inside meets it.

use super::{Verdict, table};
use crate::support::{node, python_program, root, run};
use std::collections::BTreeMap;

/// Calls that newer kernels for x86-64 let past every filter, since they make them themselves: `uretprobe`, `uprobe`. A program
/// that makes one is ended or refused.
const UNFILTERED: [i64; 2] = [335, 336];

/// Numbers that are tried: all that the kernel has today, and room for those of the next years.
const NUMBERS: std::ops::Range<i64> = 0..2048;

#[tokio::test]
async fn every_call_outside_of_the_table_is_refused_to_programs() {
    crate::need_root!();
    let mut verdicts = BTreeMap::new();
    for group in table::GROUPS.iter().chain(table::OWN) {
        verdicts.extend(group.calls.iter().map(|(name, number)| (*number, (*name, group.verdict))));
    }
    // Calls that are allowed, with whatever arguments, would do something: they are left out.
    let refused: BTreeMap<i64, i32> = NUMBERS
        .filter_map(|number| match verdicts.get(&number) {
            None => Some((number, libc::ENOSYS)),
            Some((_, Verdict::Refuse(errno))) => Some((number, *errno)),
            Some((_, Verdict::Allow | Verdict::Unless(..))) => None,
        })
        .collect();
    assert!(refused.len() > 1700, "{}", refused.len());
    let numbers: Vec<String> = refused.keys().map(ToString::to_string).collect();
    let script = format!(
        "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in [{}]:
    ctypes.set_errno(0)
    if number in {UNFILTERED:?}:
        child = os.fork()
        if child == 0:
            result = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
            os._exit(ctypes.get_errno() if result == -1 else 0)
        status = os.waitpid(child, 0)[1]
        print(number, {enosys} if status else 'done')
        continue
    result = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
    print(number, ctypes.get_errno() if result == -1 else 'done')
",
        numbers.join(", "),
        enosys = libc::ENOSYS,
    );
    let node = node();
    let template = node.template(root()).await.unwrap();
    let ended = run(&node, python_program(&template, &script)).await;
    let mut tried = 0;
    for line in ended.output().lines() {
        let (number, got) = line.split_once(' ').unwrap();
        let number: i64 = number.parse().unwrap();
        let name = verdicts.get(&number).map_or("unknown", |(name, _)| name);
        assert_eq!(got, refused[&number].to_string(), "call {number}, {name}");
        tried += 1;
    }
    assert_eq!(tried, refused.len());
    node.shutdown().await;
}
