//! The one wasmtime engine of a host, and the clock that interrupts guests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::{Config, OptLevel};

/// How often a running guest looks up. A guest in an endless loop is stopped this much late at
/// most, and gives other tasks of its thread a turn this often.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// A guest's call stack, in bytes. Deep recursion in a sane plugin takes a tenth.
pub(super) const GUEST_STACK: usize = 512 << 10;

/// The stack on which a guest and the host functions that it calls run, in bytes.
const FIBER_STACK: usize = 1 << 20;

pub(super) struct Engine {
    wasmtime: wasmtime::Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Engine {
    pub(super) fn new() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .cranelift_opt_level(OptLevel::Speed)
            .max_wasm_stack(GUEST_STACK)
            .async_stack_size(FIBER_STACK)
            .wasm_memory64(false)
            // Contract 0.1 has no asynchronous functions, and calls are cheaper without them.
            .concurrency_support(false);
        let wasmtime = wasmtime::Engine::new(&config)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = std::thread::Builder::new().name("ennio-epoch".into()).spawn({
            let engine = wasmtime.weak();
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed)
                    && let Some(engine) = engine.upgrade()
                {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            }
        })?;
        Ok(Self { wasmtime, stop, ticker: Some(ticker) })
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}
