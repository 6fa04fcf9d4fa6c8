//! What one instance's store holds: the guest's view of the world, and the limits on it.

use std::time::Instant;

use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use super::{
    contract::{logging, types},
    keyvalue::GuestState,
    logging::{GuestLog, GuestStream},
    manifest::Manifest,
};
use crate::event::PluginName;

/// Core instances in one component. A Rust guest has 2, a Python guest about 20.
const INSTANCES: usize = 64;
/// Tables in one component.
const TABLES: usize = 64;
/// Entries of one table: function pointers. A Python guest has about 20 000.
const TABLE_ELEMENTS: usize = 100_000;
/// Linear memories in one component.
const MEMORIES: usize = 8;
/// Handles to host resources at once (streams, pollables).
const RESOURCES: usize = 1_000;
/// The most random bytes of one call.
const RANDOM_BYTES: u64 = 64 << 10;

pub(super) struct Guest {
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    config: WasiConfigVariables,
    pub(super) state: GuestState,
    pub(super) log: GuestLog,
    pub(super) limits: Limits,
    /// When the current call has to be over.
    pub(super) deadline: Instant,
}

impl Guest {
    pub(super) fn new(name: &PluginName, manifest: &Manifest, state: GuestState) -> Self {
        let log = GuestLog::new(name.clone());
        let stream = |is_stderr| GuestStream { log: log.clone(), is_stderr };
        // No arguments, no environment, no folders, no sockets: a builder grants nothing of itself.
        let wasi = WasiCtx::builder()
            .stdout(stream(false))
            .stderr(stream(true))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let memory = (manifest.limits.memory_mib.get() as usize) << 20;
        let store_limits = StoreLimitsBuilder::new()
            .memory_size(memory)
            .table_elements(TABLE_ELEMENTS)
            .instances(INSTANCES)
            .tables(TABLES)
            .memories(MEMORIES)
            .build();
        Self {
            wasi,
            table,
            config: manifest.config_values().collect(),
            state,
            log,
            limits: Limits { store_limits, memory: 0 },
            deadline: Instant::now(),
        }
    }

    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl logging::Host for Guest {
    fn log(&mut self, level: logging::Level, context: String, message: String) {
        self.log.line(level, &context, &message);
    }
}

impl types::Host for Guest {}

/// Refuses growth past the limits, and remembers how far memory has grown.
pub(super) struct Limits {
    store_limits: StoreLimits,
    /// The largest memory so far, in bytes.
    pub(super) memory: usize,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.store_limits.memory_growing(current, desired, maximum)?;
        if allowed {
            self.memory = self.memory.max(desired);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.store_limits.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.store_limits.instances()
    }

    fn tables(&self) -> usize {
        self.store_limits.tables()
    }

    fn memories(&self) -> usize {
        self.store_limits.memories()
    }
}
