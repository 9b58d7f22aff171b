//! The floor of `cargo xtask bench wasm`: a component's instance made and asked inside this process, with the engine's settings of
//! Neap and nothing else: no listener, no accounts, no log, no limits.
//!
//! `cargo run --release -p neap-wasm --example bench_floor -- FILE`: a component. For each line on standard
//! input, which is the body of a POST, one instance answers; printed are the nanoseconds from before the instance was made until
//! its answer was complete, and the answer's length.

use http::Request;
use http_body_util::{BodyExt, Full};
use std::{
    io::{BufRead, Write},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    WasiHttpCtx, WasiHttpCtxView, WasiHttpView,
    p2::bindings::{ProxyPre, http::types::Scheme},
};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Instances that the pool has room for: one is used at a time.
const INSTANCES: u32 = 8;

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Refused,
}

/// Nothing is sent anywhere.
struct Refused;

type Sent = wasmtime_wasi_http::Result<(
    http::Response<wasmtime_wasi_http::WasiBody>,
    Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
)>;

impl wasmtime_wasi_http::WasiHttpHooks for Refused {
    fn send_request(
        &mut self,
        _: Request<wasmtime_wasi_http::WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "ready")?;
    output.flush()?;
    for line in std::io::stdin().lock().lines() {
        let (took, length) = runtime.block_on(one(&pre, line?))?;
        writeln!(output, "{} {length}", took.as_nanos())?;
        output.flush()?;
    }
    Ok(())
}

/// One instance, one answer.
async fn one(pre: &ProxyPre<State>, body: String) -> Outcome<(Duration, usize)> {
    let request = Request::post("http://localhost/")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(Full::new(bytes::Bytes::from(body)))?;
    let began = Instant::now();
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
        let response = head.await?.map_err(|code| format!("{code:?}"))?;
        if !response.status().is_success() {
            return Err(format!("the component answered {}", response.status()).into());
        }
        Outcome::Ok(response.into_body().collect().await?.to_bytes().len())
    };
    let ((), length) = tokio::try_join!(handled, answered)?;
    Ok((began.elapsed(), length))
}
