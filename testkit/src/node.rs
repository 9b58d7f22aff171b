//! A node of its own: the binary, a free port, a folder that vanishes with it.

use crate::{
    Error,
    client::{self, Client, Credentials},
    process,
};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A running node; ended when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its root credentials.
    pub credentials: Credentials,
    /// From the start of the process until it first answered.
    pub launch: Duration,
    /// From the start of the process until its runtimes were prepared, so that no cold start waits for that.
    pub prepared: Duration,
    data: TempDir,
}

/// A node that is not ready by then has failed. With a new data folder it prepares its runtimes, on a machine that may be busy.
const READY_MAX: Duration = Duration::from_secs(120);
/// Time for an orderly end.
const STOP_MAX: Duration = Duration::from_secs(30);

impl Node {
    /// Starts `binary` with `config` as its configuration file and waits until it answers and is prepared.
    pub fn start(binary: &Path, config: &str) -> Result<Node, Error> {
        let data = TempDir::with_prefix("neap-node-").map_err(Error::io("a folder for the node"))?;
        std::fs::write(data.path().join("neap.toml"), config).map_err(Error::io("neap.toml"))?;
        let address = free_address()?;
        let began = Instant::now();
        let child = spawn(binary, address, data.path())?;
        let none = Credentials { access_key: String::new(), secret: String::new() };
        let mut node = Node {
            child,
            address,
            credentials: none,
            launch: Duration::ZERO,
            prepared: Duration::ZERO,
            data,
        };
        node.launch = node.answers(began, |_| true)?;
        node.prepared = node.prepares(began)?;
        let text =
            std::fs::read(node.data.path().join("credentials.json")).map_err(Error::io("credentials"))?;
        node.credentials = serde_json::from_slice(&text)
            .map_err(|error| Error::Protocol(format!("credentials: {error}")))?;
        Ok(node)
    }

    /// Ends the node and starts `binary` with its folder and address again, without waiting for an answer. When it was
    /// started.
    pub fn restart(&mut self, binary: &Path) -> Result<Instant, Error> {
        self.end();
        let began = Instant::now();
        self.child = spawn(binary, self.address, self.data.path())?;
        Ok(began)
    }

    /// The same by SIGKILL.
    pub fn crash(&mut self, binary: &Path) -> Result<Instant, Error> {
        self.child.kill().map_err(Error::io("kill"))?;
        self.child.wait().map_err(Error::io("wait"))?;
        let began = Instant::now();
        self.child = spawn(binary, self.address, self.data.path())?;
        Ok(began)
    }

    /// Waits until its runtimes are prepared after a [`Node::restart`].
    pub fn await_prepared(&mut self) -> Result<(), Error> {
        self.prepares(Instant::now()).map(|_| ())
    }

    fn prepares(&mut self, began: Instant) -> Result<Duration, Error> {
        self.answers(began, |health| health.ends_with(br#""runtimes":"ready"}"#))
    }

    /// When its health first was as wanted.
    fn answers(&mut self, began: Instant, wanted: impl Fn(&[u8]) -> bool) -> Result<Duration, Error> {
        loop {
            let health = client::get(self.address, "/_neap/health");
            if health.is_ok_and(|answer| answer.status == 200 && wanted(&answer.body)) {
                return Ok(began.elapsed());
            }
            let ended = self.child.try_wait().map_err(Error::io("wait"))?;
            if ended.is_some() || began.elapsed() > READY_MAX {
                return Err(Error::NotReady { seconds: READY_MAX.as_secs(), log: self.log() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The end of what it wrote to standard error.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.data.path().join("log")).unwrap_or_default();
        let start = text.len().saturating_sub(4_000);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// A client with its root credentials.
    pub fn client(&self) -> Client {
        Client { address: self.address, credentials: self.credentials.clone() }
    }

    /// Asks it to end and waits; kills it if that takes too long. The processes that it left behind.
    pub fn stop(mut self) -> Vec<u32> {
        self.end()
    }

    fn end(&mut self) -> Vec<u32> {
        process::end(&mut self.child, STOP_MAX)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(binary: &Path, address: SocketAddr, data: &Path) -> Result<Child, Error> {
    let log = File::create(data.join("log")).map_err(Error::io("log"))?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("--listen").arg(address.to_string()).arg("--data").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(Error::io(binary.display().to_string()))
}

/// An address of the loopback interface that nobody listens at now.
pub fn free_address() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("a free port"))?;
    listener.local_addr().map_err(Error::io("a free port"))
}
