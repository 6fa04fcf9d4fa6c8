//! What a guest can import. One call an interface; what is not added here cannot be linked.

use wasmtime::component::{HasSelf, Linker};

use super::{contract::logging, guest::Guest, keyvalue, manifest::Capabilities};

pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    // Clocks, random and captured stdio; folders, environment and sockets are linked, since a
    // guest's standard library imports them, but there is nothing behind them that was not granted.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // Likewise: a request to a host that was not granted is answered with an error.
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
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
    /// It is linked, and there is nothing behind it: no folder, no address, no variable.
    Empty,
    /// It is linked, and there would be something behind it if `[capabilities]` granted it under this
    /// key.
    Ungranted(&'static str),
}

/// What the host has behind the interface `name`. Only asked about a component that was linked.
pub(super) fn provision(name: &str, granted: &Capabilities) -> Provision {
    let under = |key, is_empty| match is_empty {
        true => Provision::Ungranted(key),
        false => Provision::Full,
    };
    match name.split_once('@').map_or(name, |(name, _)| name) {
        "wasi:http/outgoing-handler" => under("http", granted.http.is_empty()),
        "wasi:cli/environment" => under("env", granted.env.is_empty()),
        name if name.starts_with("wasi:filesystem/") => under("fs", granted.fs.is_empty()),
        "wasi:cli/stdin" => Provision::Empty,
        name if name.starts_with("wasi:sockets/") => Provision::Empty,
        _ => Provision::Full,
    }
}
