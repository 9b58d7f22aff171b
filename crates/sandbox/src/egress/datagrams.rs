//! What carries one sandbox's datagrams, and its questions for names.

use super::{Context, DNS, NAMESERVER, names::is_question};
use crate::sys::{self, Datagram};
use rustix::net::RecvFlags;
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::timeout,
};

/// Conversations of one sandbox at once, and questions for names at once. What is more is lost, as datagrams are.
const CONVERSATIONS_MAX: usize = 256;
const QUESTIONS_MAX: usize = 128;
/// A conversation in which nothing was said for this long is over: what its address says later is not heard. Source: RFC 4787,
/// REQ-5: not less than two minutes.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long a resolver may take before the next is asked.
const RESOLVER_MAX: Duration = Duration::from_secs(2);
/// Datagrams of a conversation that wait to be sent.
const WAITING_MAX: usize = 64;
/// The longest datagram.
const LENGTH_MAX: usize = 65_535;

/// Who said something, and to whom.
type Pair = (SocketAddrV4, SocketAddrV4);

/// State of the conversations.
pub(super) struct Datagrams {
    arrivals: UdpSocket,
    /// Answers to questions for names go out here.
    names: Arc<UdpSocket>,
    namespace: Arc<OwnedFd>,
    context: Arc<Context>,
    conversations: HashMap<Pair, mpsc::Sender<Vec<u8>>>,
    tasks: JoinSet<Pair>,
    questions: JoinSet<()>,
}

impl Datagrams {
    pub(super) fn new(
        arrivals: UdpSocket,
        names: Arc<UdpSocket>,
        namespace: Arc<OwnedFd>,
        context: Arc<Context>,
    ) -> Datagrams {
        let (tasks, questions) = (JoinSet::new(), JoinSet::new());
        Datagrams { arrivals, names, namespace, context, conversations: HashMap::new(), tasks, questions }
    }

    pub(super) async fn run(&mut self) {
        loop {
            tokio::select! {
                received = arrival(&self.arrivals) => match received {
                    Ok(Some((bytes, from, to))) => self.pass_on(bytes, from, to),
                    Ok(None) => {}
                    // The kernel's word on an answer that nobody waited for.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => {
                        tracing::warn!(%error, "a sandbox's datagrams can no longer be carried");
                        std::future::pending().await
                    }
                },
                Some(done) = self.tasks.join_next() => {
                    if let Ok(pair) = done {
                        self.conversations.remove(&pair);
                    }
                }
                Some(_) = self.questions.join_next() => {}
            }
        }
    }

    /// Ends every conversation; resolves when their sockets are closed, with the sockets that it began with.
    pub(super) async fn shutdown(mut self) -> Option<(std::net::UdpSocket, std::net::UdpSocket)> {
        self.tasks.shutdown().await;
        self.questions.shutdown().await;
        // Nobody but the questions had it.
        let names = Arc::into_inner(self.names)?;
        Some((self.arrivals.into_std().ok()?, names.into_std().ok()?))
    }

    fn pass_on(&mut self, bytes: Vec<u8>, from: SocketAddrV4, to: SocketAddrV4) {
        match (*to.ip(), to.port()) {
            (NAMESERVER, DNS) => {
                if self.questions.len() < QUESTIONS_MAX && is_question(&bytes) {
                    let (names, context) = (Arc::clone(&self.names), Arc::clone(&self.context));
                    self.questions.spawn(async move { ask(&context, &names, &bytes, from).await });
                }
            }
            (NAMESERVER, _) => {}
            (_, _) => self.say(bytes, from, to),
        }
    }

    /// Says something in a conversation, a new one if need be.
    fn say(&mut self, bytes: Vec<u8>, from: SocketAddrV4, to: SocketAddrV4) {
        if let Some(conversation) = self.conversations.get(&(from, to)) {
            // Full or just ended: lost.
            let _ = conversation.try_send(bytes);
            return;
        }
        if self.conversations.len() >= CONVERSATIONS_MAX || !self.context.permit(*to.ip()) {
            return;
        }
        let Ok(place) = Arc::clone(&self.context.places).try_acquire_owned() else { return };
        let (conversation, said) = mpsc::channel(WAITING_MAX);
        let _ = conversation.try_send(bytes);
        self.conversations.insert((from, to), conversation);
        let (namespace, context) = (Arc::clone(&self.namespace), Arc::clone(&self.context));
        self.tasks.spawn(async move {
            if let Err(error) = converse(&context, &namespace, said, from, to, place).await {
                tracing::debug!(%error, %to, "a conversation by datagrams ended");
            }
            (from, to)
        });
    }
}

/// The next datagram from inside, with who sent it and to whom. Cancel-safe.
async fn arrival(socket: &UdpSocket) -> io::Result<Option<(Vec<u8>, SocketAddrV4, SocketAddrV4)>> {
    next(socket, |buffer| {
        let received = sys::receive_datagram(socket.as_fd(), buffer)?;
        Ok(received.map(|Datagram { length, from, to }| {
            (buffer.get(..length).unwrap_or_default().to_vec(), from, to)
        }))
    })
    .await
}

/// The next datagram from outside. Cancel-safe.
async fn answer(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    next(socket, |buffer| {
        let length = rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT)?.0;
        Ok(buffer.get(..length).unwrap_or_default().to_vec())
    })
    .await
}

/// Receives when there is something, into a buffer that exists only for that: most sandboxes never say anything this way.
async fn next<T>(socket: &UdpSocket, mut receive: impl FnMut(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
    loop {
        socket.readable().await?;
        let received = socket.try_io(Interest::READABLE, || receive(&mut vec![0; LENGTH_MAX]));
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Carries one conversation until it falls silent.
async fn converse(
    context: &Context,
    namespace: &OwnedFd,
    mut said: mpsc::Receiver<Vec<u8>>,
    from: SocketAddrV4,
    to: SocketAddrV4,
    _place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    outside.connect(to).await?;
    let inside = UdpSocket::from_std(context.socket(namespace.try_clone()?, to).await?)?;
    loop {
        let step = async {
            tokio::select! {
                Some(bytes) = said.recv() => lossy(outside.send(&bytes).await),
                received = answer(&outside) => match received {
                    Ok(bytes) => lossy(inside.send_to(&bytes, from).await),
                    Err(error) => lossy(Err(error)),
                },
            }
        };
        match timeout(SILENCE_MAX, step).await {
            Ok(done) => done?,
            Err(_silent) => return Ok(()),
        }
    }
}

/// That nobody listens just now, or that there is no room, ends no conversation.
fn lossy(done: io::Result<usize>) -> io::Result<()> {
    match done {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::WouldBlock => Ok(()),
            _ if error.raw_os_error() == Some(libc::EMSGSIZE) => Ok(()),
            _ => Err(error),
        },
    }
}

/// Asks the host's resolvers one after the other, the one that answered last first, and passes the first answer on.
async fn ask(context: &Context, names: &UdpSocket, question: &[u8], from: SocketAddrV4) {
    let resolvers = context.resolvers();
    let preferred = context.preferred.load(Ordering::Relaxed);
    for number in 0..resolvers.len() {
        let index = (preferred + number) % resolvers.len();
        let Some(resolver) = resolvers.get(index) else { continue };
        match timeout(RESOLVER_MAX, ask_one(*resolver, question)).await {
            Ok(Ok(answer)) => {
                context.preferred.store(index, Ordering::Relaxed);
                let _ = names.send_to(&answer, from).await;
                return;
            }
            Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver cannot be asked"),
            Err(_) => tracing::debug!(%resolver, "a resolver does not answer"),
        }
    }
}

async fn ask_one(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    answer(&socket).await
}
