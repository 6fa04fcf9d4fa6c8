//! One filter: a call into a component through Ennio, beside the same call through wasmtime alone.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ennio::{
    event::{Event, Timestamp},
    plugin::Registry,
    store::state::State,
};
use tokio::runtime::Runtime;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use crate::{
    Scale,
    events::Source,
    table::{Goal, Table, quantile},
};

/// The contract, generated anew: the bare thing uses nothing of Ennio.
mod contract {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package ennio:bench; world filters { export ennio:plugin/filter@0.1.0; }",
        world: "ennio:bench/filters",
    });
}

use contract::{
    ennio::plugin::types,
    exports::ennio::plugin::filter::{self, GuestIndices},
};

const BATCH: usize = 64;

/// A component that `make guests` built.
pub fn guest(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let found = ["test-guests", "plugins"]
        .map(|folder| target.join(folder).join(format!("{name}.wasm")))
        .into_iter()
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("the component {name} is not built (run `make guests`)"))
}

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let mut source = Source::new();
    let events: Vec<Event> =
        (0..BATCH).map(|_| source.draft().into_event(Timestamp::now())).collect();
    let mut bare = Bare::new(&guest("keep-all"));
    let registry = Registry::new(None, None, State::in_memory()).unwrap();
    let plugin = runtime.block_on(registry.examine(&guest("keep-all"))).unwrap();
    let refs: Vec<&Event> = events.iter().collect();
    let (mut bare_times, mut times) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs(scale.seconds);
    // In turns, so that a busy moment of the machine meets both.
    while Instant::now() < end {
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(bare.filter(&events), BATCH);
            bare_times.push(begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
        }
        for _ in 0..50 {
            let begun = Instant::now();
            let verdicts = runtime.block_on(plugin.filter(&refs)).answers;
            times.push(begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
            assert!(verdicts.len() == BATCH && verdicts.iter().all(|(_, verdict)| verdict.is_ok()));
        }
    }
    let (bare, ennio) = (quantile(&mut bare_times, 0.5), quantile(&mut times, 0.5));
    table.row(
        "one filter, batches of 64, median",
        Some(bare),
        ennio,
        "us/event",
        Goal::Multiple(1.25),
    );
}

struct World {
    wasi: WasiCtx,
    table: ResourceTable,
    config: WasiConfigVariables,
}

impl WasiView for World {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for World {}

/// The component in wasmtime, without limits, deadline or log.
struct Bare {
    store: Store<World>,
    filter: filter::Guest,
}

impl Bare {
    fn new(file: &Path) -> Self {
        let engine = Engine::new(&Config::new()).unwrap();
        let component = Component::from_file(&engine, file).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        wasmtime_wasi_config::add_to_linker(&mut linker, |world: &mut World| {
            WasiConfig::new(&world.config)
        })
        .unwrap();
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let world = World {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            config: WasiConfigVariables::new(),
        };
        let mut store = Store::new(&engine, world);
        let pre = linker.instantiate_pre(&component).unwrap();
        let indices = GuestIndices::new(&pre).unwrap();
        let instance = pre.instantiate(&mut store).unwrap();
        // Reads the configuration, which is empty: the filter needs none.
        let configure = instance
            .get_export_index(&mut store, None, "ennio:plugin/guest@0.1.0")
            .and_then(|guest| instance.get_export_index(&mut store, Some(&guest), "configure"))
            .unwrap();
        let configure =
            instance.get_typed_func::<(), (Result<(), String>,)>(&mut store, configure).unwrap();
        configure.call(&mut store, ()).unwrap().0.unwrap();
        let filter = indices.load(&mut store, &instance).unwrap();
        Self { store, filter }
    }

    fn filter(&mut self, events: &[Event]) -> usize {
        let lowered: Vec<types::Event> = events.iter().map(lower).collect();
        self.filter.call_filter(&mut self.store, &lowered).unwrap().len()
    }
}

fn lower(event: &Event) -> types::Event {
    types::Event {
        id: event.id.to_string(),
        event_type: event.event_type.as_str().into(),
        priority: types::Priority::Info,
        session_id: event.session_id.as_str().into(),
        project_id: event.project_id.as_str().into(),
        timestamp: event.timestamp.to_string(),
        message: event.message.as_str().into(),
        data: event.data.as_str().into(),
    }
}
