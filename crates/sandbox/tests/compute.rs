//! Processes that only compute: what they are left with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

use base::{ByteCount, Seconds};
use sandbox::{Computing, only_compute};
use std::{
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus, Output, Stdio},
};

const MEMORY: ByteCount = ByteCount(1 << 30);

/// Runs a part of this program in a process of its own.
fn run(part: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", part, "--ignored", "--nocapture", "--test-threads=1"])
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn computing(processor: u32, memory: ByteCount) -> Computing {
    Computing { processor: Seconds(processor), memory, written: ByteCount(1 << 20), filtered: true }
}

#[test]
#[ignore = "a process of another test"]
fn part_reaches_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let open = File::open("/etc/passwd").unwrap();
    let parent = rustix::process::getppid().unwrap();
    only_compute(computing(10, MEMORY)).unwrap();
    let refused = [
        ("open", File::open("/etc/passwd").map(drop)),
        ("create", File::create("/tmp/neap-test-compute").map(drop)),
        ("connect", TcpStream::connect(address).map(drop)),
        ("socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
        ("execute", Command::new("/bin/true").status().map(drop)),
        (
            "raise its limit",
            rustix::process::setrlimit(
                rustix::process::Resource::Cpu,
                rustix::process::Rlimit { current: Some(100), maximum: Some(100) },
            )
            .map_err(Into::into),
        ),
        ("signal", rustix::process::kill_process(parent, rustix::process::Signal::TERM).map_err(Into::into)),
        ("read what was open", std::io::Read::read(&mut &open, &mut [0; 1]).map(drop)),
    ];
    std::mem::forget(open);
    for (what, outcome) in refused {
        assert!(outcome.is_err(), "{what}");
    }
    // What it may.
    let sum = std::thread::spawn(|| (0..1_000_000_u64).sum::<u64>()).join().unwrap();
    let large = vec![1_u8; 100 << 20];
    println!("\nCOMPUTED {} {}", sum, large.len());
    std::io::stdout().flush().unwrap();
}

#[test]
fn who_computes_reaches_nothing() {
    let output = run("part_reaches_out");
    assert!(said(&output).contains("COMPUTED 499999500000 104857600"), "{}", said(&output));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
#[ignore = "a process of another test"]
fn part_takes_memory() {
    only_compute(computing(60, MEMORY)).unwrap();
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 16 << 20]);
    }
}

#[test]
#[ignore = "a process of another test"]
fn part_takes_time() {
    only_compute(computing(1, MEMORY)).unwrap();
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn who_computes_is_bounded() {
    let signal = |status: ExitStatus| status.signal();
    let output = run("part_takes_memory");
    assert!(!output.status.success() && said(&output).contains("memory allocation of"), "{}", said(&output));
    assert_eq!(signal(run("part_takes_time").status), Some(libc::SIGXCPU));
}
