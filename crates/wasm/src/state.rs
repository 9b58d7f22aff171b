//! What the host keeps of one instance, and what the instance may have.

use crate::{engine::TABLE_MAX, outbound::Outbound};
use base::ByteCount;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Streams, bodies, sets of headers and the like that an instance holds at once.
const RESOURCES_MAX: usize = 2_048;
/// Memory of one set of headers, in bytes.
const HEADERS_MAX: usize = 64 * 1024;

/// Of a component's instance.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outbound: Outbound,
    pub(crate) bounds: Bounds,
}

impl State {
    pub(crate) fn new(wasi: WasiCtx, outbound: Outbound, bounds: Bounds) -> State {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADERS_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        State { wasi, http, table, outbound, bounds }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Of a module's instance.
pub(crate) struct ModuleState {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) bounds: Bounds,
}

/// What is known of an instance from outside while it runs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Most bytes of its linear memories.
    pub(crate) peak: AtomicU64,
    /// It wanted more memory than it may have.
    pub(crate) out_of_memory: AtomicBool,
    /// It has computed for longer than a tick.
    pub(crate) long: AtomicBool,
}

/// What an instance may have.
pub(crate) struct Bounds {
    memory_max: u64,
    memory: u64,
    /// The growth that was allowed last, for when it fails nevertheless.
    last: u64,
    watch: Arc<Watch>,
}

impl Bounds {
    /// `memory_max`: of all linear memories together.
    pub(crate) fn new(memory_max: ByteCount, watch: Arc<Watch>) -> Bounds {
        Bounds { memory_max: memory_max.0, memory: 0, last: 0, watch }
    }

    /// For the next invocation of an instance that is used again.
    pub(crate) fn watched_by(&mut self, watch: Arc<Watch>) {
        watch.peak.store(self.memory, Ordering::Relaxed);
        self.watch = watch;
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = desired.saturating_sub(current) as u64;
        if maximum.is_some_and(|maximum| desired > maximum) {
            // Its own limit: it is told so and goes on.
            return Ok(false);
        }
        if self.memory.saturating_add(wanted) > self.memory_max {
            // As a process is killed: what asks for more may not be able to go on without.
            self.watch.out_of_memory.store(true, Ordering::Relaxed);
            return Err(wasmtime::Error::msg("the function's memory is used up"));
        }
        self.memory += wanted;
        self.last = wanted;
        self.watch.peak.fetch_max(self.memory, Ordering::Relaxed);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory -= std::mem::take(&mut self.last);
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_and_their_peak_is_known() {
        let watch = Arc::new(Watch::default());
        let mut bounds = Bounds::new(ByteCount(100), watch.clone());
        assert!(bounds.memory_growing(0, 60, None).unwrap());
        assert!(!bounds.memory_growing(60, 90, Some(80)).unwrap(), "its own limit");
        assert!(!watch.out_of_memory.load(Ordering::Relaxed));
        assert!(bounds.memory_growing(0, 40, None).unwrap(), "a second memory");
        bounds.memory_grow_failed(wasmtime::Error::msg("x")).unwrap();
        assert!(bounds.memory_growing(60, 101, None).is_err());
        assert!(watch.out_of_memory.load(Ordering::Relaxed));
        assert_eq!(watch.peak.load(Ordering::Relaxed), 100);
        assert!(bounds.table_growing(0, TABLE_MAX, None).unwrap());
        assert!(!bounds.table_growing(0, TABLE_MAX + 1, None).unwrap());
    }
}
