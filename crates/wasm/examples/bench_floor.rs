//! The floors of `cargo xtask bench wasm`, with the engine's settings of Neap and nothing else: no accounts, no log, no limits.
//!
//! `cargo run --release -p neap-wasm --example bench_floor -- FILE`: a component. The first line printed is the address of an HTTP
//! server that answers each request by an instance of its own: what anybody who serves components that way must do. And for
//! each line on standard input, which is the body of a POST, one instance answers inside this process, without a client; printed
//! are the nanoseconds from before the instance was made until its answer was complete, and the answer's length.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    io::{BufRead, Write},
    net::Ipv4Addr,
    time::Instant,
};
use tokio::{net::TcpListener, sync::oneshot};
use wasmtime::{
    Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpView,
    p2::bindings::{ProxyPre, http::types::Scheme},
};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Instances that the pool has room for: more than requests at once.
const INSTANCES: u32 = 100;

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Refused,
}

/// Nothing is sent anywhere.
struct Refused;

type Sent = wasmtime_wasi_http::Result<(
    Response<WasiBody>,
    Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
)>;

impl wasmtime_wasi_http::WasiHttpHooks for Refused {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

fn main() -> Outcome<()> {
    let file = std::env::args().nth(1).ok_or("usage: bench_floor FILE")?;
    let engine = wasm::engine(INSTANCES)?;
    let component = Component::new(&engine, std::fs::read(file)?)?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let pre = ProxyPre::new(linker.instantiate_pre(&component)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", listener.local_addr()?)?;
    output.flush()?;
    runtime.spawn(serve(listener, pre.clone()));
    for line in std::io::stdin().lock().lines() {
        let body = line?;
        let request = Request::post("http://localhost/")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync())?;
        let began = Instant::now();
        let answer = runtime.block_on(one(&pre, request))?;
        writeln!(output, "{} {}", began.elapsed().as_nanos(), answer.body().len())?;
        output.flush()?;
    }
    Ok(())
}

/// One connection, one task; one request, one instance.
async fn serve(listener: TcpListener, pre: ProxyPre<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let pre = pre.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let pre = pre.clone();
            async move {
                let request =
                    request.map(|body| body.map_err(|_| Error::ConnectionTerminated).boxed_unsync());
                one(&pre, request).await.map(|answer| answer.map(Full::new))
            }
        });
        // A client that leaves is no matter.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// One instance, one answer.
async fn one(pre: &ProxyPre<State>, request: Request<WasiBody>) -> Outcome<Response<Bytes>> {
    let state = State {
        wasi: WasiCtx::builder().build(),
        http: WasiHttpCtx::new(),
        table: ResourceTable::new(),
        hooks: Refused,
    };
    let mut store = Store::new(pre.engine(), state);
    store.set_epoch_deadline(u64::MAX / 2);
    let proxy = pre.instantiate_async(&mut store).await?;
    let (sender, head) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let response = http.new_response_outparam(sender)?;
    let handled = async {
        let handled = proxy.wasi_http_incoming_handler().call_handle(&mut store, request, response).await;
        handled.map_err(Into::into)
    };
    let answered = async {
        let (parts, body) = head.await?.map_err(|code| format!("{code:?}"))?.into_parts();
        if !parts.status.is_success() {
            return Err(format!("the component answered {}", parts.status).into());
        }
        Outcome::Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    };
    let ((), answer) = tokio::try_join!(handled, answered)?;
    Ok(answer)
}
