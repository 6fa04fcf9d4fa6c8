//! What wit-bindgen makes of the contract.
//!
//! The published worlds export `guest` together with a role. A component with two roles would then
//! export `guest` twice, so here is one world for each single export, and
//! [`export!`](crate::export!) joins those that a plugin takes; the linker merges them.
//!
//! `pub_export_macro` is what makes this work from a library: an export is then part of the
//! component only where its macro is used, the imports always.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated: the border of a component is raw memory"
)]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package ennio:sdk;
        world imports {
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            import ennio:plugin/types@0.1.0;
        }
    ",
    world: "ennio:sdk/imports",
    generate_all,
    generate_unused_types: true,
});

/// Apart from the others, and all the same only part of a component that uses it: imports that
/// nothing calls are left out by the linker.
pub mod http {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package ennio:sdk;
            world http-client {
                include ennio:plugin/http-client@0.1.0;
                import wasi:clocks/monotonic-clock@0.2.4;
            }
        ",
        world: "ennio:sdk/http-client",
        generate_all,
    });
}

macro_rules! one_export {
    ($module:ident, $world:literal, $package:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $package,
                world: $world,
                pub_export_macro: true,
                with: { "ennio:plugin/types@0.1.0": crate::bindings::ennio::plugin::types },
            });
        }
    };
}

one_export!(
    guest,
    "ennio:sdk/guest-only",
    "package ennio:sdk; world guest-only { export ennio:plugin/guest@0.1.0; }"
);
one_export!(
    filter,
    "ennio:sdk/filter-only",
    "package ennio:sdk; world filter-only { export ennio:plugin/filter@0.1.0; }"
);
one_export!(
    enricher,
    "ennio:sdk/enricher-only",
    "package ennio:sdk; world enricher-only { export ennio:plugin/enricher@0.1.0; }"
);
one_export!(
    reaction,
    "ennio:sdk/reaction-only",
    "package ennio:sdk; world reaction-only { export ennio:plugin/reaction@0.1.0; }"
);
