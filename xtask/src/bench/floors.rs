//! The least work: an HTTP server that only echoes, the same server in front of bare loops of a handler, and these loops
//! alone. The servers run as processes of their own, started from this program.

mod stock;

use super::{
    Outcome,
    apps::{App, BareCell},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sandbox::{Attachment, Sandboxes, Spec, Template, TemplateLink, TemplateSpec};
use std::{
    convert::Infallible,
    ffi::OsString,
    fs::Permissions,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

/// Hidden name of the echo server.
pub(super) const ECHO: &str = "floor-echo";
/// Hidden name of the server in front of bare loops; the rest of the command line is the loop's.
pub(super) const LOOP: &str = "floor-loop";
/// Hidden name of the server in front of stock clients of the Runtime API: the interpreter and the client's folder follow.
pub(super) const STOCK: &str = "floor-stock";
/// Processes of one floor: as many as functions in the largest burst, and more than connections in warm measurements.
const LOOPS_MAX: usize = 100;

/// A floor's server in a process of its own; ends when dropped, since its standard input closes.
pub(super) struct Floor {
    child: Child,
    _open: ChildStdin,
    pub(super) address: SocketAddr,
    _folder: TempDir,
}

impl Floor {
    pub(super) fn echo() -> Outcome<Floor> {
        Floor::start(ECHO, &[], folder()?)
    }

    pub(super) fn bare_loop(app: App) -> Outcome<Floor> {
        let folder = folder()?;
        Floor::start(LOOP, &app.bare_loop(folder.path())?, folder)
    }

    /// The handler in Python behind the stock client of the Runtime API, which is installed in `package`.
    pub(super) fn stock(package: &std::path::Path) -> Outcome<Floor> {
        let folder = folder()?;
        let program = super::apps::stock_folder(package, folder.path())?;
        Floor::start(STOCK, &program, folder)
    }

    fn start(name: &str, program: &[PathBuf], folder: TempDir) -> Outcome<Floor> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        command.arg("bench").arg(name).args(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let (Some(open), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("both are piped".to_owned());
        };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
        let address = line.trim().parse().map_err(|_| format!("the floor {name} said {line:?}"))?;
        Ok(Floor { child, _open: open, address, _folder: folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a floor on a free port, printed as the only line, until standard input closes.
pub(super) fn serve(name: &str, program: &[String]) -> Outcome<()> {
    let loops = (name != ECHO).then(|| {
        Arc::new(Loops {
            program: program.to_vec(),
            is_stock: name == STOCK,
            idle: Mutex::default(),
            bound: Semaphore::new(LOOPS_MAX),
        })
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let listening = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        Ok::<TcpListener, std::io::Error>(listener)
    });
    runtime.spawn(accept(listening.map_err(|error| error.to_string())?, loops));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

async fn accept(listener: TcpListener, loops: Option<Arc<Loops>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let loops = loops.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| respond(request, loops.as_deref()));
            // A client that leaves is no matter.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    loops: Option<&Loops>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answered = match loops {
        None => Ok(body),
        Some(loops) => loops.call(body).await,
    };
    let mut response =
        Response::new(Full::new(answered.as_ref().map_or_else(|_| Bytes::new(), Bytes::clone)));
    if answered.is_err() {
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    }
    Ok(response)
}

/// Instances of a bare loop, as many as there were calls at once, up to [`LOOPS_MAX`].
struct Loops {
    program: Vec<String>,
    is_stock: bool,
    idle: Mutex<Vec<Instance>>,
    bound: Semaphore,
}

enum Instance {
    Loop { stream: tokio::net::UnixStream, _child: Child },
    Stock(stock::Stock),
}

impl Instance {
    async fn call(&mut self, event: Bytes) -> std::io::Result<Bytes> {
        match self {
            Instance::Loop { stream, .. } => {
                stream.write_all(&framed(&event)).await?;
                answer(stream).await.map(Bytes::from)
            }
            Instance::Stock(stock) => stock.call(event).await,
        }
    }
}

impl Loops {
    async fn call(&self, event: Bytes) -> std::io::Result<Bytes> {
        let _one_of_them = self.bound.acquire().await.map_err(std::io::Error::other)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => self.start().await?,
        };
        let answer = instance.call(event).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        Ok(answer)
    }

    async fn start(&self) -> std::io::Result<Instance> {
        if let (true, [python, folder]) = (self.is_stock, self.program.as_slice()) {
            return stock::Stock::start(python, folder).await.map(Instance::Stock);
        }
        let (child, ours) = spawn(&self.program)?;
        ours.set_nonblocking(true)?;
        Ok(Instance::Loop { stream: tokio::net::UnixStream::from_std(ours)?, _child: child })
    }
}

fn framed(event: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(event.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    frame.extend_from_slice(event);
    frame
}

/// Starts a bare loop over a socket pair.
fn spawn<S: AsRef<std::ffi::OsStr>>(program: &[S]) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let (name, args) = program.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let child = Command::new(name).args(args).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    Ok((child, ours))
}

/// One call of one instance, blocking.
fn call(stream: &mut UnixStream, event: &[u8]) -> std::io::Result<()> {
    stream.write_all(&framed(event))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut answer)
}

/// Latencies in microseconds, sorted, of one bare loop over its socket pair: the handler alone.
pub(super) fn loop_alone(app: App, measured: Duration) -> Outcome<Vec<u32>> {
    let folder = folder()?;
    let program = app.bare_loop(folder.path())?;
    let work = || -> std::io::Result<Vec<u32>> {
        let (mut child, mut stream) = spawn(&program)?;
        let mut spans = Vec::new();
        let began = Instant::now();
        for number in 0.. {
            let sent = Instant::now();
            call(&mut stream, super::apps::event(number).as_bytes())?;
            // The first tenth is warm-up.
            if began.elapsed() > measured / 10 {
                spans.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            if began.elapsed() > measured {
                break;
            }
        }
        drop(stream);
        child.wait()?;
        spans.sort_unstable();
        Ok(spans)
    };
    work().map_err(|error| format!("bare loop of {}: {error}", app.name()))
}

/// From nothing to the first answer of a bare loop: what starting the interpreter as a plain process costs.
pub(super) fn process_start(app: App) -> Outcome<Duration> {
    let folder = folder()?;
    let program = app.bare_loop(folder.path())?;
    let work = || -> std::io::Result<Duration> {
        let began = Instant::now();
        let (mut child, mut stream) = spawn(&program)?;
        call(&mut stream, super::apps::event(0).as_bytes())?;
        let took = began.elapsed();
        drop(stream);
        child.wait()?;
        Ok(took)
    };
    work().map_err(|error| format!("bare process of {}: {error}", app.name()))
}

/// A bare Python process that has loaded what a zygote loads and forks for each event, without any isolation.
pub(super) struct ForkFloor {
    child: Child,
    stream: UnixStream,
    _folder: TempDir,
}

impl ForkFloor {
    /// `None` for apps that Neap does not fork.
    pub(super) fn start(app: App) -> Outcome<Option<ForkFloor>> {
        let folder = folder()?;
        let Some(program) = app.bare_fork(folder.path())? else { return Ok(None) };
        let (child, stream) = spawn(&program).map_err(|error| error.to_string())?;
        let mut floor = ForkFloor { child, stream, _folder: folder };
        // The first waits until it has loaded everything.
        floor.fork()?;
        Ok(Some(floor))
    }

    /// From the request to the first answer of a new child, which loads the handler.
    pub(super) fn fork(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        call(&mut self.stream, super::apps::event(0).as_bytes())
            .map_err(|error| format!("bare fork: {error}"))?;
        Ok(began.elapsed())
    }
}

impl Drop for ForkFloor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bare stem cells: an interpreter that has booted waits frozen in a bare sandbox, gets a folder, loads the handler from it and
/// answers one event, by blocking reads.
pub(super) struct CellFloor {
    runtime: tokio::runtime::Runtime,
    sandboxes: Sandboxes,
    template: Template,
    argv: Vec<OsString>,
    folder: TempDir,
}

impl CellFloor {
    /// `None` for apps whose floor is no cell.
    pub(super) fn start(app: App) -> Outcome<Option<CellFloor>> {
        let folder = folder()?;
        let Some(BareCell { argv, binds }) = app.bare_cell(folder.path())? else { return Ok(None) };
        // Sandboxes have other users.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let settings = sandbox::Settings::new(format!("floor{}", std::process::id()));
        let sandboxes = Sandboxes::start(settings).map_err(|error| error.to_string())?;
        let mut root = TemplateSpec { name: "floor".to_owned(), binds, ..TemplateSpec::default() };
        root.binds.push(Attachment::same("/usr"));
        for place in ["/lib", "/lib64"] {
            match std::fs::read_link(place) {
                Ok(target) => root.links.push(TemplateLink { inside: place.into(), target }),
                Err(_) => root.binds.push(Attachment::same(place)),
            }
        }
        let template = runtime
            .block_on(sandboxes.template(root))
            .map_err(|error| format!("the floor's root: {error}"))?;
        Ok(Some(CellFloor { runtime, sandboxes, template, argv, folder }))
    }

    /// From the choice of a cell that waits to its first answer.
    pub(super) fn first(&self) -> Outcome<Duration> {
        self.runtime.block_on(self.choose()).map_err(|error| format!("bare cell: {error}"))
    }

    async fn choose(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut stream = tokio::net::UnixStream::from_std(ours)?;
        let mut spec = Spec::new(self.template.clone(), self.argv.clone());
        spec.channel = Some(theirs.into());
        spec.attachable = true;
        let cell = self.sandboxes.spawn(spec).await?;
        answer(&mut stream).await?;
        cell.freeze()?;
        // Its boot has left traces in the processor's queues and caches.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let files = [Attachment::new(self.folder.path(), sandbox::TASK)];
        let (attached, thawed) = tokio::join!(cell.attach(&files), async { cell.thaw() });
        attached.and(thawed)?;
        stream.write_all(&framed(sandbox::TASK.as_bytes())).await?;
        answer(&mut stream).await?;
        stream.write_all(&framed(super::apps::event(0).as_bytes())).await?;
        answer(&mut stream).await?;
        let took = began.elapsed();
        cell.kill().await;
        Ok(took)
    }
}

/// One answer of a bare loop.
async fn answer(stream: &mut tokio::net::UnixStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn folder() -> Outcome<TempDir> {
    TempDir::with_prefix("neap-bench-").map_err(|error| error.to_string())
}
