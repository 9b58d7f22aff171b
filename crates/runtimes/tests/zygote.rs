//! Environments that are forked from a zygote: like those that execute the interpreter, and what ends a zygote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, and functions of tests

mod support;

use base::Millis;
use runtimes::{ZygoteCounts, ZygoteEnd};
use serde_json::{Value, json};
use std::time::Duration;
use support::Node;

/// Waits until the node's counts are as wanted.
async fn until(node: &Node, what: &str, wanted: impl Fn(&ZygoteCounts) -> bool) -> ZygoteCounts {
    for _ in 0..3_000 {
        let counts = node.runtimes.zygotes();
        if wanted(&counts) {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {:?}", node.runtimes.zygotes());
}

const NOTHING: &str = "def handler(event, context): return 1";

/// A node without libraries. Other tests install some into the folder that they share, whose arrival replaces a zygote.
fn apart(change: impl FnOnce(&mut runtimes::Settings)) -> Node {
    Node::with(|settings| {
        settings.runtimes = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtimes-zygote");
        change(settings);
    })
}

/// A node whose Python zygote is ready.
async fn warm(change: impl FnOnce(&mut runtimes::Settings)) -> Node {
    let node = apart(change);
    let running = node.python(NOTHING).await.launch().await;
    running.environment.clone().stop().await;
    until(&node, "ready", |counts| counts.ready == 1).await;
    node
}

fn ended(counts: &ZygoteCounts, why: ZygoteEnd) -> u64 {
    counts.ended.get(&why).copied().unwrap_or(0)
}

/// Host process ids of zygotes: children of this process's spawners.
fn zygotes() -> Vec<i32> {
    let own = std::process::id();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let ours = |pid: u32| parent(pid).and_then(parent).and_then(parent) == Some(own);
    let named = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "neap-zygote")
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| named(*pid) && ours(*pid)).map(u32::cast_signed).collect()
}

/// What a function sees of itself. What must differ from start to start is left out or made equal.
const LOOK: &str = r#"
import ctypes, gc, os, resource, signal, sys
early = sorted(os.listdir('/proc/self/fd'))
def read(path):
    try:
        with open(path, 'rb') as file:
            return file.read().decode()
    except OSError as error:
        return str(error)
def status():
    keep = {'Name', 'Umask', 'Tgid', 'Pid', 'PPid', 'TracerPid', 'NStgid', 'NSpid', 'NSsid', 'Groups', 'FDSize', 'Kthread',
            'Threads', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'SigQ', 'SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt',
            'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'CoreDumping', 'THP_enabled', 'untag_mask'}
    lines = [line.split(':', 1) for line in read('/proc/self/status').splitlines()]
    return {name: value.split() for name, value in lines if name in keep}
def attempt(f):
    try:
        return repr(f())
    except Exception as error:
        return type(error).__name__ + str(error)
def handler(event, context):
    libc = ctypes.CDLL(None, use_errno=True)
    uid = os.getuid()
    return {
        'early': early,
        'status': status(),
        'ids': [uid == i for i in os.getresuid() + os.getresgid()], 'groups': os.getgroups(),
        'session': [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getppid(), os.getpid()],
        'cmdline': read('/proc/self/cmdline'), 'exe': os.readlink('/proc/self/exe'), 'cwd': os.readlink('/proc/self/cwd'),
        'environ': sorted(text.partition('=')[0] for text in read('/proc/self/environ').split('\0')),
        'same': sorted(text for text in read('/proc/self/environ').split('\0') if text and text.partition('=')[0] not in
                       ('_X_AMZN_TRACE_ID', '_LAMBDA_TELEMETRY_LOG_FD'))
                == sorted('%s=%s' % pair for pair in os.environ.items() if pair[0] not in ('_X_AMZN_TRACE_ID', 'LC_CTYPE')),
        'variables': [sorted(os.environ), os.environ.get('LC_CTYPE')],
        'libc': ctypes.string_at(libc.getenv(b'_HANDLER')).decode() if setattr(libc.getenv, 'restype', ctypes.c_void_p) is None else 0,
        'comm': read('/proc/self/comm'), 'loginuid': read('/proc/self/loginuid'),
        'limits': {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith('RLIMIT')},
        'cgroup': [line.partition(':')[2].replace('/', '', 1) for line in read('/proc/self/cgroup').splitlines()],
        'dumpable': libc.prctl(3), 'securebits': libc.prctl(27), 'deathsig': (lambda n: (libc.prctl(2, ctypes.byref(n)), n.value))(ctypes.c_int(-1)),
        'subreaper': (lambda n: (libc.prctl(37, ctypes.byref(n)), n.value))(ctypes.c_int(-1)),
        'fds': sorted(os.listdir('/proc/self/fd')), 'kinds': [os.readlink('/proc/self/fd/%d' % n).partition(':')[0] for n in range(4)],
        'inheritable': [os.get_inheritable(n) for n in range(4)],
        'processes': sorted(int(name) for name in os.listdir('/proc') if name.isdigit()),
        'mounts': sorted(line.split(' ', 5)[4] + ' ' + line.split(' ', 6)[5] for line in read('/proc/self/mountinfo').splitlines() if ' - ' in line),
        'host': os.uname().nodename, 'ns': sorted(os.listdir('/proc/self/ns')),
        'net': read('/proc/net/dev').splitlines()[2:3] and [line.split(':')[0].strip() for line in read('/proc/net/dev').splitlines()[2:]],
        'init': attempt(lambda: os.listdir('/proc/1')), 'init_maps': attempt(lambda: open('/proc/1/maps').read()),
        'sys': {name: attempt(lambda: getattr(sys, name)) for name in
                ('argv', 'orig_argv', 'path', 'flags', 'executable', 'prefix', 'base_prefix', 'warnoptions', '_xoptions', 'stdin', 'stdout', 'stderr', 'platlibdir')},
        'streams': [[stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.seekable(), stream.fileno(), stream.isatty()] for stream in (sys.stdin, sys.stdout, sys.stderr)],
        'main': {name: str(value) for name, value in vars(sys.modules['__main__']).items() if name in ('__file__', '__name__', '__doc__', '__package__', '__spec__')},
        'signals': {int(s): str(signal.getsignal(s)).partition(' at ')[0] for s in range(1, 32) if s not in (9, 19)},
        'gc': [gc.isenabled(), gc.get_threshold()],
        'nice': os.nice(0), 'affinity': sorted(os.sched_getaffinity(0)), 'scheduler': os.sched_getscheduler(0),
        'oom': read('/proc/self/oom_score_adj'),
        'kill': attempt(lambda: os.kill(2, 0)),
    }
"#;

/// Says which parts differ.
#[track_caller]
fn assert_alike(executed: &Value, forked: &Value) {
    for (name, value) in executed.as_object().unwrap() {
        assert_eq!(&forked[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_forked_environment_sees_what_an_executed_one_sees() {
    need_root!();
    let node = apart(|settings| settings.zygote_idle = Millis(0));
    let executed = node.python(LOOK).await.launch().await.call("1").await.ok();
    assert_eq!(node.runtimes.zygotes(), ZygoteCounts::default(), "switched off");
    node.stop().await;

    let node = warm(|_| {}).await;
    let running = node.python(LOOK).await.launch().await;
    assert_eq!(node.runtimes.zygotes().forked, 1);
    let forked = running.call("1").await.ok();
    assert_alike(&executed, &forked);
    node.stop().await;
}

#[tokio::test]
async fn forked_environments_draw_their_own_randomness_and_hold_nothing_of_each_other() {
    need_root!();
    let source = "
import os, random, re, uuid, hashlib, tempfile
drawn = [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), os.urandom(8).hex(), random.getrandbits(64)]
def memory():
    found = 0
    needle = re.compile(b'verysecretof[-]a')  # which is not found itself
    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as mem:
        for line in maps:
            place, rights = line.split()[:2]
            if 'r' not in rights or line.endswith(('[vvar]\\n', '[vsyscall]\\n', '[vvar_vclock]\\n')):
                continue
            start, end = (int(part, 16) for part in place.split('-'))
            mem.seek(start)
            try:
                found += len(needle.findall(mem.read(end - start)))
            except OSError:
                pass
    return found
def handler(event, context):
    return {'drawn': drawn, 'found': memory(), 'secret': os.environ.get('SECRET'), 'hash': hash('x')}
";
    let node = warm(|_| {}).await;
    let files = [("app.py", source.as_bytes())];
    let of = |name: &'static str| {
        let secret = format!("verysecretof-{name}");
        node.function("python3.11", &files, move |spec| {
            spec.variables.insert("SECRET".into(), secret);
        })
    };
    let a = of("a").await.launch().await.call("1").await.ok();
    let b = of("b").await.launch().await.call("1").await.ok();
    assert_eq!(node.runtimes.zygotes().forked, 2);
    assert_eq!(a["secret"], "verysecretof-a");
    assert!(a["found"].as_i64().unwrap() > 0, "the probe finds its own: {a}");
    assert_eq!(b["secret"], "verysecretof-b");
    assert_eq!(b["found"], 0, "{b}");
    for (one, other) in a["drawn"].as_array().unwrap().iter().zip(b["drawn"].as_array().unwrap()) {
        assert_ne!(one, other);
    }
    assert_eq!(a["hash"], b["hash"], "documented: the seed of hashes is the zygote's");
    node.stop().await;
}

#[tokio::test]
async fn the_zygote_itself_holds_nothing_and_reaches_nothing() {
    need_root!();
    let node = warm(|_| {}).await;
    node.python(NOTHING).await.launch().await;
    let pids = zygotes();
    assert_eq!(pids.len(), 1, "{pids:?}");
    let folder = format!("/proc/{}", pids[0]);
    let environ = std::fs::read_to_string(format!("{folder}/environ")).unwrap();
    let mut names: Vec<&str> = environ.split('\0').filter_map(|text| Some(text.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ"]);
    let mut held: Vec<String> = std::fs::read_dir(format!("{folder}/fd"))
        .unwrap()
        .map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap().to_string_lossy().into_owned())
        .map(|target| target.split(':').next().unwrap().to_owned())
        .collect();
    held.sort_unstable();
    assert_eq!(held, ["/dev/null", "anon_inode", "pipe", "pipe", "socket"], "one pidfd, its own");
    let devices = std::fs::read_to_string(format!("{folder}/net/dev")).unwrap();
    assert_eq!(devices.lines().skip(2).count(), 1, "loopback alone: {devices}");
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(std::fs::read_link(format!("{folder}/ns/net")).unwrap(), host);
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    assert_eq!(
        capabilities,
        format!("{:016x}", [2, 6, 7, 8, 18, 19, 21].map(|one| 1_u64 << one).iter().sum::<u64>())
    );
    node.stop().await;
    assert_eq!(zygotes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_crash_is_followed_by_another_zygote_and_starts_go_on() {
    need_root!();
    let node = warm(|_| {}).await;
    let lives = node.python("def handler(event, context): return event").await.launch().await;
    let [pid] = zygotes()[..] else { panic!("{:?}", zygotes()) };
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    // Whatever it finds, a start works.
    assert_eq!(node.python(NOTHING).await.launch().await.call("1").await.ok(), 1);
    let counts =
        until(&node, "again", |counts| counts.ready == 1 && counts.ended.values().sum::<u64>() > 0).await;
    assert_eq!(ended(&counts, ZygoteEnd::Crash) + ended(&counts, ZygoteEnd::Failure), 1, "{counts:?}");
    assert_eq!(lives.call("5").await.ok(), 5, "those that it had forked live on");
    let before = node.runtimes.zygotes().forked;
    node.python(NOTHING).await.launch().await;
    assert_eq!(node.runtimes.zygotes().forked, before + 1);
    node.stop().await;
}

#[tokio::test]
async fn one_that_hangs_or_answers_nothing_is_replaced() {
    need_root!();
    let node = warm(|_| {}).await;
    let [pid] = zygotes()[..] else { panic!("{:?}", zygotes()) };
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert_eq!(node.python(NOTHING).await.launch().await.call("1").await.ok(), 1);
    node.python(NOTHING).await.launch().await;
    let counts = until(&node, "again", |counts| counts.ready == 1).await;
    assert_eq!(ended(&counts, ZygoteEnd::Failure), 1, "{counts:?}");
    node.stop().await;
}

/// Has the process own what it shares with files: by writing there what is there.
fn grow(pid: i32) {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem")).unwrap();
    let mut grown = 0;
    for line in maps.lines().filter(|line| line.contains("r-xp") || line.contains("r--p")) {
        let (place, rest) = line.split_once(' ').unwrap();
        if !rest.contains('/') {
            continue;
        }
        let (start, end) = place.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        for page in (start..end).step_by(4096) {
            let mut byte = [0];
            if memory.read_at(&mut byte, page).is_ok() && memory.write_at(&byte, page).is_ok() {
                grown += 4096;
            }
        }
    }
    assert!(grown > 9 << 20, "{grown}");
}

#[tokio::test]
async fn one_that_has_grown_is_replaced() {
    need_root!();
    let node = warm(|settings| settings.zygote_idle = Millis(60_000)).await;
    let [pid] = zygotes()[..] else { panic!("{:?}", zygotes()) };
    grow(pid);
    let counts =
        until(&node, "again", |counts| ended(counts, ZygoteEnd::Growth) == 1 && counts.ready == 1).await;
    assert_eq!(counts.ended.len(), 1, "{counts:?}");
    assert_ne!(zygotes(), [pid]);
    node.python(NOTHING).await.launch().await;
    let counts = node.runtimes.zygotes();
    assert_eq!(counts.forked, 1, "{counts:?}");
    node.stop().await;
}

#[tokio::test]
async fn one_of_an_interpreter_that_was_replaced_is_replaced_too() {
    need_root!();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("python3");
    let Some(system) =
        ["/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13", "/usr/bin/python3"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
    else {
        eprintln!("SKIPPED: no Python of the system");
        return;
    };
    std::fs::copy(system, &program).unwrap();
    let search = vec![folder.path().to_owned()];
    let node = warm(|settings| settings.search = search).await;
    std::fs::copy(system, folder.path().join("new")).unwrap();
    std::fs::rename(folder.path().join("new"), &program).unwrap();
    assert_eq!(node.python(NOTHING).await.launch().await.call("1").await.ok(), 1);
    let counts = until(&node, "again", |counts| counts.ready == 1).await;
    assert_eq!(ended(&counts, ZygoteEnd::Update), 1, "{counts:?}");
    node.stop().await;
}

#[tokio::test]
async fn an_unused_zygote_ends() {
    need_root!();
    let node = warm(|settings| settings.zygote_idle = Millis(200)).await;
    until(&node, "idle", |counts| counts.ready == 0 && ended(counts, ZygoteEnd::Idle) == 1).await;
    node.stop().await;
}

#[tokio::test]
async fn exits_signals_memory_and_children_end_as_those_of_executed_programs() {
    need_root!();
    let source = "
import os, signal, subprocess, sys
def handler(event, context):
    if event == 'exit':
        os._exit(7)
    if event == 'signal':
        os.kill(os.getpid(), signal.SIGSEGV)
    if event == 'memory':
        return len(bytearray(1 << 30))
    if event == 'orphan':
        subprocess.Popen(['/bin/sh', '-c', 'sleep 600 & sleep 600'], start_new_session=True)
        os._exit(0)
    return [subprocess.run(['/bin/sh', '-c', 'exit 3']).returncode, subprocess.run([sys.executable, '-S', '-c', 'print(1)'],
            capture_output=True, text=True).stdout]
";
    let node = warm(|_| {}).await;
    let function = node.python(source).await;
    assert_eq!(function.launch().await.call("1").await.ok(), json!([3, "1\n"]));
    let message = |error: &Value| error["errorMessage"].as_str().unwrap().to_owned();
    let exit = function.launch().await.call("\"exit\"").await.error();
    assert!(message(&exit).contains("exit status 7"), "{exit}");
    let signal = function.launch().await.call("\"signal\"").await.error();
    assert!(message(&signal).contains("signal: segmentation fault"), "{signal}");
    let memory = function.launch().await.call("\"memory\"").await.error();
    assert!(
        message(&memory).contains("signal: killed") || memory["errorType"] == "Runtime.OutOfMemory",
        "{memory}"
    );
    function.launch().await.call("\"orphan\"").await.error();
    assert_eq!(node.runtimes.zygotes().forked, 5);
    node.stop().await;
}

#[tokio::test]
async fn what_must_act_when_the_interpreter_starts_executes_it() {
    need_root!();
    let node = warm(|_| {}).await;
    for (name, value) in [
        ("PYTHONHASHSEED", "1"),
        ("PYTHONPATH", "/var/task/lib"),
        ("PYTHONUNBUFFERED", "1"),
        ("LD_PRELOAD", ""),
        ("LD_LIBRARY_PATH", "/var/task"),
        ("MALLOC_ARENA_MAX", "1"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=0"),
        ("LANG", "C"),
        ("LC_ALL", "C"),
        ("OPENSSL_CONF", "/var/task/openssl.cnf"),
    ] {
        let source = format!("import os\ndef handler(event, context): return os.environ[{name:?}]");
        let files = [("app.py", source.as_bytes())];
        let function = node.function("python3.11", &files, move |spec| {
            spec.variables.insert(name.into(), value.into());
        });
        assert_eq!(function.await.launch().await.call("1").await.ok(), value);
    }
    let counts = node.runtimes.zygotes();
    assert_eq!((counts.forked, counts.executed), (0, 11), "one of them loaded it");
    // Others are given to the child.
    let source = "import os, time\ndef handler(event, context): return [os.environ['TZ'], time.tzname[0]]";
    let files = [("app.py", source.as_bytes())];
    let function = node.function("python3.11", &files, |spec| {
        spec.variables.insert("TZ".into(), "Asia/Tokyo".into());
    });
    assert_eq!(function.await.launch().await.call("1").await.ok(), json!(["Asia/Tokyo", "JST"]));
    assert_eq!(node.runtimes.zygotes().forked, 1);
    node.stop().await;
}

#[tokio::test]
async fn a_functions_own_module_wins_over_one_that_is_preloaded() {
    need_root!();
    let node = warm(|_| {}).await;
    let source = b"import uuid, decimal\ndef handler(event, context): return [getattr(uuid, 'MINE', 0), getattr(decimal, 'MINE', 0)]";
    let own = node.function("python3.11", &[("app.py", source), ("uuid.py", b"MINE = 1")], |_| {}).await;
    assert_eq!(own.launch().await.call("1").await.ok(), json!([1, 0]));
    let package = node
        .function("python3.11", &[("app.py", source), ("decimal/__init__.py", b"MINE = 2")], |_| {})
        .await;
    assert_eq!(package.launch().await.call("1").await.ok(), json!([0, 2]));
    assert_eq!(node.runtimes.zygotes().forked, 0);
    // One that is no module of the zygote's does not matter.
    let other = node.function("python3.11", &[("app.py", source), ("other.py", b"")], |_| {}).await;
    assert_eq!(other.launch().await.call("1").await.ok(), json!([0, 0]));
    assert_eq!(node.runtimes.zygotes().forked, 1);
    node.stop().await;
}

#[tokio::test]
async fn a_module_that_cannot_be_preloaded_is_left_out() {
    need_root!();
    let node = warm(|settings| settings.preload = vec!["no_such_module".into(), "uuid".into()]).await;
    let source =
        "import sys\ndef handler(event, context): return ['uuid' in sys.modules, 'logging' in sys.modules]";
    assert_eq!(node.python(source).await.launch().await.call("1").await.ok(), json!([true, false]));
    assert_eq!(node.runtimes.zygotes().forked, 1);
    node.stop().await;
}
