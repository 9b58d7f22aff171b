//! The stock client of the Runtime API in front of the handler, and the least server of that API.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
};

/// A process of the client; ends when dropped.
pub(super) struct Stock {
    events: mpsc::Sender<Event>,
    child: Child,
}

/// An event, and where its answer goes.
type Event = (Bytes, oneshot::Sender<Bytes>);

/// The server's side of one process.
struct Api {
    events: Mutex<mpsc::Receiver<Event>>,
    /// Whoever waits for the answer of the event under way.
    waiting: Mutex<Option<oneshot::Sender<Bytes>>>,
}

impl Stock {
    /// Starts the client that is installed in `folder`, beside the handler's `app.py`.
    pub(super) async fn start(python: &str, folder: &str) -> io::Result<Stock> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut command = Command::new(python);
        command.args(["-m", "awslambdaric", "app.handler"]).current_dir(Path::new(folder));
        command.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string());
        // Names that the client reads; it makes no thread for each event where it is told of Python 3.11.
        for (name, value) in [
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_NAME", "floor"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "floor"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "floor"),
            ("LAMBDA_TASK_ROOT", folder),
        ] {
            command.env(name, value);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let (events, receiver) = mpsc::channel(1);
        let api = Arc::new(Api { events: Mutex::new(receiver), waiting: Mutex::default() });
        tokio::spawn(serve(listener, api));
        Ok(Stock { events, child })
    }

    pub(super) async fn call(&self, event: Bytes) -> io::Result<Bytes> {
        let (answer, answered) = oneshot::channel();
        self.events.send((event, answer)).await.map_err(io::Error::other)?;
        answered.await.map_err(io::Error::other)
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve(listener: TcpListener, api: Arc<Api>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            let service = service_fn(|request| api.answer(request));
            // The client's end is this one's.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = match request.uri().path().rsplit('/').next() {
            Some("next") => self.next().await,
            Some("response") => {
                let body = request.into_body().collect().await;
                let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                if let Some(waiting) = self.waiting.lock().await.take() {
                    // Nobody may wait any more.
                    let _ = waiting.send(body);
                }
                Response::builder().status(202).body(Full::default())
            }
            Some(_) | None => Response::builder().status(404).body(Full::default()),
        };
        Ok(answer.unwrap_or_default())
    }

    async fn next(&self) -> http::Result<Response<Full<Bytes>>> {
        let Some((event, answer)) = self.events.lock().await.recv().await else {
            return Response::builder().status(500).body(Full::default());
        };
        *self.waiting.lock().await = Some(answer);
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", "8476a536-e9f4-41e8-9739-2dfe598c3fcd")
            .header("lambda-runtime-deadline-ms", "9999999999999")
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:000000000000:function:floor",
            )
            .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .body(Full::new(event))
    }
}
