//! What a guest can import. One call an interface; what is not added here cannot be linked.

use wasmtime::component::{HasSelf, Linker};

use super::{contract::logging, guest::Guest, keyvalue};

pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    // Clocks, random and captured stdio; folders, environment and sockets are linked, since a
    // guest's standard library imports them, but there is nothing behind them.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, Guest::config)?;
    logging::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    keyvalue::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// What lies behind an interface that a guest imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// It works.
    Full,
    /// It is linked, and there is nothing behind it: no variable, no folder, no address.
    Empty,
}

/// What the host has behind the interface `name`. Only asked about a component that was linked.
pub(super) fn provision(name: &str) -> Provision {
    let empty = ["wasi:filesystem/", "wasi:sockets/", "wasi:cli/environment", "wasi:cli/stdin"];
    match empty.iter().any(|interface| name.starts_with(interface)) {
        true => Provision::Empty,
        false => Provision::Full,
    }
}
