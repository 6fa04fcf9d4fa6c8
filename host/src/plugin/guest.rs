//! What one instance's store holds: the guest's view of the world, and the limits on it.

use std::{sync::Arc, time::Instant};

use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder, error::Context as _};
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    capabilities::Grants,
    contract::{logging, types},
    environment::Environment,
    http::Http,
    keyvalue::GuestState,
    logging::{GuestLog, GuestStream, Voice},
    manifest::Manifest,
};

/// Core instances in one component. A Rust guest has 2, a Python guest about 20.
pub(super) const INSTANCES: usize = 64;
/// Tables in one component.
pub(super) const TABLES: usize = 64;
/// Entries of all tables together: function pointers. A Python guest has about 20 000.
pub(super) const TABLE_ELEMENTS: usize = 100_000;
/// Linear memories in one component.
pub(super) const MEMORIES: usize = 8;
/// Handles to host resources at once (streams, pollables).
pub(super) const RESOURCES: usize = 1_000;
/// The most random bytes of one call.
pub(super) const RANDOM_BYTES: u64 = 64 << 10;

pub(super) struct Guest {
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    config: WasiConfigVariables,
    pub(super) state: GuestState,
    http_context: WasiHttpCtx,
    pub(super) http: Http,
    may_send: bool,
    pub(super) log: GuestLog,
    pub(super) limits: Limits,
    /// When the current call has to be over.
    pub(super) deadline: Instant,
}

/// What an instance is made with.
pub(super) struct Sandbox<'a> {
    pub(super) voice: &'a Arc<Voice>,
    pub(super) manifest: &'a Manifest,
    pub(super) grants: &'a Grants,
    pub(super) state: GuestState,
    pub(super) environment: &'a Environment,
}

impl Guest {
    /// # Errors
    /// When a folder that was granted is gone.
    pub(super) fn new(sandbox: Sandbox<'_>) -> wasmtime::Result<Self> {
        let Sandbox { voice, manifest, grants, state, environment } = sandbox;
        let log = GuestLog::new(Arc::clone(voice));
        let stream = |is_stderr| GuestStream { log: log.clone(), is_stderr };
        // No arguments, no environment, no folders: a builder grants nothing of itself. Sockets are
        // refused before one is made, since each would be a file descriptor of the host's.
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stream(false))
            .stderr(stream(true))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES)
            .envs(&grants.environment);
        for folder in &grants.folders {
            wasi.preopened_dir(folder, folder.to_string_lossy(), FsPerms::ReadOnly)
                .with_context(|| format!("the folder {}", folder.display()))?;
        }
        environment.furnish(&mut wasi);
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
        Ok(Self {
            wasi: wasi.build(),
            table,
            config: manifest.config_values().chain(environment.config_values()).collect(),
            state,
            http_context: Http::context(),
            http: Http::new(
                Arc::clone(&grants.http),
                Arc::clone(&grants.denials),
                environment.recorded().cloned(),
            ),
            may_send: environment.is_live() || environment.recorded().is_some(),
            log,
            limits: Limits { store_limits, most_memory: memory, memory: 0, table_elements: 0 },
            deadline: Instant::now(),
        })
    }

    /// A call that may send requests, where somebody is there to answer them.
    pub(super) fn begin_call(&mut self) {
        self.http.begin_call((!self.may_send).then_some("in a trial"));
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

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.http,
            table: &mut self.table,
            ctx: &mut self.http_context,
        }
    }
}

impl logging::Host for Guest {
    fn log(&mut self, level: logging::Level, context: String, message: String) {
        self.log.line(level, &context, &message);
    }
}

impl types::Host for Guest {}

/// Refuses growth past the limits. What memories and tables a component has count together: eight
/// memories are not eight times the memory.
pub(super) struct Limits {
    store_limits: StoreLimits,
    most_memory: usize,
    /// All memories together, in bytes.
    pub(super) memory: usize,
    /// All tables together.
    table_elements: usize,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        let allowed = total <= self.most_memory
            && self.store_limits.memory_growing(current, desired, maximum)?;
        if allowed {
            self.memory = total;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_sub(current).saturating_add(desired);
        let allowed = total <= TABLE_ELEMENTS
            && self.store_limits.table_growing(current, desired, maximum)?;
        if allowed {
            self.table_elements = total;
        }
        Ok(allowed)
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
