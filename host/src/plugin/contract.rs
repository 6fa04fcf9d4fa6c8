//! The bindings of contract version 0.1.0 (`wit/`). Private: the rest of the room speaks the types
//! of `call.rs`, so a second version of the contract only converts into those.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package ennio:host;

        world everything {
            import wasi:logging/logging@0.1.0-draft;
            export ennio:plugin/guest@0.1.0;
            export ennio:plugin/filter@0.1.0;
            export ennio:plugin/enricher@0.1.0;
            export ennio:plugin/reaction@0.1.0;
        }
    ",
    world: "ennio:host/everything",
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});

// `self::`, since a documentation test sees this crate under the same name.
pub(super) use self::ennio::plugin::types;
pub(super) use self::exports::ennio::plugin::{enricher, filter, guest, reaction};
pub(super) use self::wasi::logging::logging;

/// What the export names of this version end in.
pub(super) const VERSION: &str = "0.1.0";
