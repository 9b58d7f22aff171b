//! What carries one sandbox's connections.

use super::{
    Context, DNS, Doors, NAMESERVER,
    datagrams::Datagrams,
    names::is_question,
    queue::{self, Fate, First},
    rules::{MARK_ADMITTED, MARK_REFUSED, MARK_UNREACHABLE},
};
use crate::sys;
use rustix::{io::Errno, net::RecvFlags};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, oneshot},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

/// Connections of one sandbox at once, those that are being made included. More are refused.
const CONNECTIONS_MAX: usize = 512;
/// How long the daemon tries to connect. A program inside that waits longer makes it try again.
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// How long one of several resolvers may take to connect.
const RESOLVER_MAX: Duration = Duration::from_secs(3);
/// How long a connection that stands outside waits for its inside, which is a matter of microseconds; it never comes when
/// the program has given up meanwhile.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Bytes in flight in each direction.
const BUFFER: usize = 8 * 1024;
/// Longest message from the queue, which has one packet's headers.
const MESSAGE_MAX: usize = 4 * 1024;

/// Carries one sandbox's connections until it is dropped or ended.
#[derive(Debug)]
pub(crate) struct Relay {
    task: JoinHandle<Option<Doors>>,
    /// Dropped, it ends the task.
    stop: oneshot::Sender<()>,
}

impl Relay {
    /// Begins, on the current tokio runtime, which must be in the host's network namespace.
    pub(crate) fn start(doors: Doors, namespace: &Arc<OwnedFd>, context: &Arc<Context>) -> io::Result<Relay> {
        let mut datagrams = Datagrams::new(
            UdpSocket::from_std(doors.datagrams)?,
            Arc::new(UdpSocket::from_std(doors.names)?),
            Arc::clone(namespace),
            Arc::clone(context),
        );
        let mut carrier = Carrier {
            context: Arc::clone(context),
            queue: sys::wait_readable(doors.queue)?,
            attempts: HashMap::new(),
            arriving: HashMap::new(),
            tasks: JoinSet::new(),
        };
        let arrivals = TcpListener::from_std(doors.connections)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let carrying = async { tokio::join!(carrier.run(&arrivals), datagrams.run()) };
            tokio::select! {
                _ = carrying => {}
                _ = stopped => {}
            }
            carrier.tasks.shutdown().await;
            let (datagrams, names) = datagrams.shutdown().await?;
            let (connections, queue) = (arrivals.into_std().ok()?, carrier.queue.into_inner());
            Some(Doors { connections, datagrams, names, queue })
        });
        Ok(Relay { task, stop })
    }

    /// Ends it; resolves when the sockets of its connections are closed, with the doors for the next. `None`: they are lost.
    pub(crate) async fn end(self) -> Option<Doors> {
        drop(self.stop);
        self.task
            .await
            .inspect_err(|error| tracing::error!(%error, "carrying a sandbox's connections failed"))
            .ok()
            .flatten()
    }
}

/// Who asked, and for whom.
type Pair = (SocketAddrV4, SocketAddrV4);

/// State of the connections.
struct Carrier {
    context: Arc<Context>,
    queue: AsyncFd<OwnedFd>,
    /// Being made outside, by the numbers of their first packets.
    attempts: HashMap<Pair, u32>,
    /// Stand outside, awaited inside.
    arriving: HashMap<Pair, Outside>,
    tasks: JoinSet<Option<Made>>,
}

/// A connection that stands outside.
struct Outside {
    stream: TcpStream,
    since: Instant,
    place: OwnedSemaphorePermit,
}

/// What an attempt came to.
struct Made {
    pair: Pair,
    result: io::Result<TcpStream>,
    place: OwnedSemaphorePermit,
}

impl Carrier {
    async fn run(&mut self, arrivals: &TcpListener) {
        let mut buffer = vec![0; MESSAGE_MAX];
        loop {
            let oldest = self.arriving.values().map(|outside| outside.since).min();
            let expiry = sleep_until(oldest.unwrap_or_else(Instant::now) + ARRIVAL_MAX);
            tokio::select! {
                read = read(&self.queue, &mut buffer) => match read {
                    Ok(bytes) => self.look_at(bytes),
                    Err(error) => {
                        tracing::warn!(%error, "a sandbox's connections can no longer be carried");
                        std::future::pending().await
                    }
                },
                Ok((inside, _)) = arrivals.accept() => self.arrived(inside),
                Some(done) = self.tasks.join_next() => {
                    if let Ok(Some(made)) = done {
                        self.made(made);
                    }
                }
                () = expiry, if oldest.is_some() => {
                    self.arriving.retain(|_, outside| outside.since.elapsed() < ARRIVAL_MAX);
                }
            }
        }
    }

    /// First packets of connections.
    fn look_at(&mut self, bytes: &[u8]) {
        for (number, first) in queue::packets(bytes) {
            let fate = match first {
                Some(first) => self.begin(first),
                None => Some(Fate::Dropped),
            };
            if let Some(fate) = fate {
                self.decide(number, fate);
            }
        }
    }

    /// Begins to connect; what becomes of the packet if that is known already.
    fn begin(&mut self, first: First) -> Option<Fate> {
        let pair = (first.from, first.to);
        if self.attempts.contains_key(&pair) {
            // The same packet, sent again because nobody has answered yet.
            return Some(Fate::Dropped);
        }
        let targets = match (*first.to.ip(), first.to.port()) {
            (NAMESERVER, DNS) => self.context.resolvers(),
            (NAMESERVER, _) => return Some(Fate::Marked(MARK_REFUSED)),
            (address, _) if !self.context.permit(address) => return Some(Fate::Marked(MARK_UNREACHABLE)),
            _ => vec![SocketAddr::V4(first.to)],
        };
        if self.tasks.len() + self.arriving.len() >= CONNECTIONS_MAX {
            return Some(Fate::Marked(MARK_REFUSED));
        }
        let Ok(place) = Arc::clone(&self.context.places).try_acquire_owned() else {
            tracing::warn!("a connection of a sandbox is refused: all descriptors for them are in use");
            return Some(Fate::Marked(MARK_REFUSED));
        };
        self.attempts.insert(pair, first.number);
        self.tasks.spawn(async move {
            let result = connect(&targets).await;
            Some(Made { pair, result, place })
        });
        None
    }

    fn made(&mut self, Made { pair, result, place }: Made) {
        let Some(number) = self.attempts.remove(&pair) else { return };
        let fate = match result {
            Ok(stream) => {
                self.arriving.insert(pair, Outside { stream, since: Instant::now(), place });
                Fate::Marked(MARK_ADMITTED)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Fate::Marked(MARK_REFUSED),
                io::ErrorKind::TimedOut => Fate::Dropped,
                _ => Fate::Marked(MARK_UNREACHABLE),
            },
        };
        self.decide(number, fate);
    }

    /// A connection has come in: only one that stands outside can.
    fn arrived(&mut self, inside: TcpStream) {
        let (Ok(SocketAddr::V4(from)), Ok(SocketAddr::V4(to))) = (inside.peer_addr(), inside.local_addr())
        else {
            return;
        };
        if let Some(Outside { stream, place, since: _ }) = self.arriving.remove(&(from, to)) {
            self.tasks.spawn(async move {
                let carried = match *to.ip() {
                    NAMESERVER => carry_questions(inside, stream).await,
                    _ => carry(inside, stream).await,
                };
                if let Err(error) = carried {
                    tracing::debug!(%error, %to, "a connection broke");
                }
                drop(place);
                None
            });
        } else {
            tracing::debug!(%from, %to, "a connection that nobody awaits is refused");
        }
    }

    fn decide(&self, number: u32, fate: Fate) {
        if let Err(error) = queue::decide(self.queue.get_ref(), number, fate) {
            tracing::debug!(%error, "the first packet of a connection is gone");
        }
    }
}

/// The first of the targets that answers, the last one's failure otherwise.
pub(super) async fn connect(targets: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::ErrorKind::NetworkUnreachable.into();
    let longest = if targets.len() > 1 { RESOLVER_MAX } else { CONNECT_MAX };
    for target in targets {
        match timeout(longest, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Passes bytes on in both directions until both have ended, or one is broken: then the other side learns that too.
async fn carry(mut inside: TcpStream, mut outside: TcpStream) -> io::Result<()> {
    let _ = inside.set_nodelay(true);
    let carried = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, BUFFER, BUFFER).await;
    if carried.is_err() {
        // Closed with a reset: an end in order would pass off what was cut off as whole.
        let _ = inside.set_zero_linger();
        let _ = outside.set_zero_linger();
    }
    carried.map(drop)
}

/// Passes questions for names on, one after the other as their lengths say, and everything that comes back; what is no question
/// ends the connection. Source: RFC 7766.
async fn carry_questions(inside: TcpStream, outside: TcpStream) -> io::Result<()> {
    let (mut from_inside, mut to_inside) = inside.into_split();
    let (mut from_outside, mut to_outside) = outside.into_split();
    let questions = async {
        loop {
            let length = match from_inside.read_u16().await {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            };
            let mut question = vec![0; length.into()];
            from_inside.read_exact(&mut question).await?;
            if !is_question(&question) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no question for a name"));
            }
            let mut framed = length.to_be_bytes().to_vec();
            framed.append(&mut question);
            to_outside.write_all(&framed).await?;
        }
        to_outside.shutdown().await
    };
    let answers = async {
        tokio::io::copy(&mut from_outside, &mut to_inside).await?;
        to_inside.shutdown().await
    };
    tokio::try_join!(questions, answers).map(drop)
}

/// What the queue has for us, at least one message.
async fn read<'a>(queue: &AsyncFd<OwnedFd>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        let mut ready = queue.readable().await?;
        let received =
            ready.try_io(|queue| Ok(rustix::net::recv(queue.get_ref(), &mut *buffer, RecvFlags::empty())?));
        match received {
            Ok(Ok((length, _))) => return Ok(buffer.get(..length).unwrap_or_default()),
            // More came than the socket holds: what is missing is sent again by the kernel inside.
            Ok(Err(error))
                if [Errno::NOBUFS, Errno::INTR]
                    .iter()
                    .any(|known| error.raw_os_error() == Some(known.raw_os_error())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}
