//! A zygote, seen from the daemon: one process outside of all sandboxes that has loaded what many programs need, and whose
//! children become programs inside. How, is told in `spawner/zygote.rs`.
//!
//! It holds nothing of any function: it gets no environment, no code and no channel, and it cannot be reached from inside. What
//! its children share is what every process of that image has: the layout of its memory, and values that its language draws at
//! its start.

use crate::{
    Error, Sandboxes, Template,
    sandboxes::{self, Node},
    spawner::{protocol::Report, zygote},
    streams::Streams,
    sys,
};
use base::ByteCount;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType},
    process::Signal,
};
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::io::unix::AsyncFd;

/// How long it may take to load.
const LOAD_MAX: Duration = Duration::from_secs(30);
/// Longest first line.
const SAID_MAX: usize = 64 * 1024;
/// How much of what it prints is kept for messages.
const TAIL_MAX: usize = 4 * 1024;

/// A zygote to start.
#[derive(Clone, Debug)]
pub struct ZygoteSpec {
    /// Its root, and that of the programs.
    pub template: Template,
    /// Program (path inside) and its arguments. It gets requests on descriptor 3, prints a line when it takes them, and does
    /// with each what `spawner/zygote.rs` says.
    pub argv: Vec<OsString>,
    /// Its environment: nothing of a function.
    pub env: Vec<(OsString, OsString)>,
}

/// A running zygote. Dropping it ends it; programs that it has forked live on.
#[derive(Debug)]
pub struct Zygote {
    /// The other end is its descriptor 3.
    requests: OwnedFd,
    process: AsyncFd<OwnedFd>,
    pid: u32,
    said: String,
    /// Why a start by it failed.
    failure: Mutex<Option<String>>,
    /// Takes what it prints.
    listener: tokio::task::AbortHandle,
}

impl Sandboxes {
    /// Why no zygote can be had on this host; `None` where it can.
    pub fn zygotes_refused(&self) -> Option<&'static str> {
        refused(self.node.shared_uid)
    }

    /// Starts a zygote; resolves when it takes requests. Some ten milliseconds. Needs a tokio runtime with I/O and time.
    /// Cancel-safe: a dropped start leaves nothing.
    pub async fn zygote(&self, spec: ZygoteSpec) -> Result<Zygote, Error> {
        if let Some(reason) = self.zygotes_refused() {
            return Err(Error::Zygote { reason: reason.to_owned() });
        }
        tokio::time::timeout(LOAD_MAX, start(&self.node, spec)).await.unwrap_or_else(|_| {
            Err(Error::Zygote { reason: format!("it was not ready within {} s", LOAD_MAX.as_secs()) })
        })
    }
}

/// What stands in the way; `shared_uid` as [`Node::shared_uid`].
pub(crate) fn refused(shared_uid: bool) -> Option<&'static str> {
    if shared_uid {
        return Some(
            "the daemon cannot give uids away: sandboxes are in user namespaces, which zygotes do not enter",
        );
    }
    let lacking =
        "the kernel lacks CONFIG_CHECKPOINT_RESTORE: /proc would show the zygote's arguments and environment";
    (!sys::has_memory_map_call()).then_some(lacking)
}

async fn start(node: &Node, spec: ZygoteSpec) -> Result<Zygote, Error> {
    let argv: Vec<&[u8]> = spec.argv.iter().map(|argument| argument.as_bytes()).collect();
    let env: Vec<(&[u8], &[u8])> =
        spec.env.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let request = zygote::encode(&argv, &env)
        .ok_or_else(|| Error::Setting { name: "argv or env", reason: "one contains a zero byte".into() })?;
    let streams = Streams::make(0).map_err(Error::step("making pipes"))?;
    let (requests, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(Error::step("making a socket"))?;
    let (control, control_inside) = sandboxes::control().map_err(Error::step("making a socket"))?;
    node.request(
        &request,
        &[
            control_inside.as_fd(),
            spec.template.shared.namespace.as_fd(),
            theirs.as_fd(),
            streams.stdout_inside.as_fd(),
            streams.stderr_inside.as_fd(),
        ],
    )
    .await?;
    drop((theirs, control_inside));
    let (stdout, stderr) = streams.outside();
    let (pid, process) = match sandboxes::next_report(&control).await? {
        Some((Report::Cloned { pid, .. }, Some(process))) => (pid, process),
        Some((Report::Failed { step, errno, .. }, _)) => return Err(sandboxes::failed(step, errno, None)),
        Some(_) | None => return Err(Error::SpawnerGone),
    };
    // From here on a dropped start ends it.
    let process = sys::wait_readable(process).map_err(Error::step("watching the zygote"))?;
    let reader = |pipe| sys::wait_readable(pipe).map_err(Error::step("listening to the zygote"));
    let (stdout, stderr) = (reader(stdout)?, reader(stderr)?);
    let mut ending = Ending { process: Some(process) };
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < SAID_MAX {
        if !read(&stdout, &mut line).await {
            let mut tail = Vec::new();
            while tail.len() < TAIL_MAX && read(&stderr, &mut tail).await {}
            let tail = String::from_utf8_lossy(&tail);
            let last = tail.lines().last().unwrap_or("it ended without a word");
            let failed = match sandboxes::next_report(&control).await {
                Ok(Some((Report::Failed { step, errno, .. }, _))) => {
                    return Err(sandboxes::failed(step, errno, None));
                }
                Ok(_) | Err(_) => last.to_owned(),
            };
            return Err(Error::Zygote { reason: failed });
        }
    }
    let said = String::from_utf8_lossy(&line).trim_end().to_owned();
    let listener = tokio::spawn(async move {
        let mut bytes = Vec::new();
        while read(&stderr, &mut bytes).await {
            tracing::warn!(pid, said = %String::from_utf8_lossy(&bytes), "a zygote speaks");
            bytes.clear();
        }
        drop(stdout);
    });
    let process = ending.process.take().ok_or(Error::SpawnerGone)?;
    let listener = listener.abort_handle();
    Ok(Zygote { requests, process, pid, said, failure: Mutex::default(), listener })
}

/// Ends the process unless it is taken out.
struct Ending {
    process: Option<AsyncFd<OwnedFd>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Adds what there is to `bytes`; false at the end.
async fn read(pipe: &AsyncFd<OwnedFd>, bytes: &mut Vec<u8>) -> bool {
    loop {
        let Ok(mut ready) = pipe.readable().await else { return false };
        let mut buffer = [0; 1024];
        let got = ready.try_io(|pipe| rustix::io::read(pipe, &mut buffer).map_err(io::Error::from));
        match got {
            Ok(Ok(0) | Err(_)) => return false,
            Ok(Ok(length)) => {
                bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
                return true;
            }
            Err(_would_block) => {}
        }
    }
}

impl Zygote {
    /// Its process id on the host.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The line that it printed when it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Resolves when it has ended. Cancel-safe.
    pub async fn ended(&self) {
        // An error means that the runtime's reactor is gone: so will be the zygote.
        let _ = self.process.readable().await;
    }

    /// Memory that is its alone: what it has written, and what it would take with it. Blocks for some microseconds.
    pub fn memory(&self) -> io::Result<ByteCount> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib = text.lines().find_map(|line| {
            line.strip_prefix("RssAnon:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        kib.map(|kib| ByteCount(kib * 1024)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Why a start by it failed, if one did: it is not to be used any more.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn fail(&self, error: &Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.to_string());
    }

    /// Where a start's init asks for a program.
    pub(crate) fn requests(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        self.listener.abort();
    }
}
