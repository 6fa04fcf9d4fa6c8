//! From bytes to a component whose roles are known.

use std::{fmt, path::PathBuf};

use thiserror::Error;
use wasmtime::component::{Component, InstancePre, types::ComponentItem};

use super::{
    contract::{VERSION, enricher, filter, guest, reaction},
    guest::Guest,
};

/// The largest component, in bytes. Python guests are 18 MB.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// What a component is, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Exports `filter`.
    pub filter: bool,
    /// Exports `enricher`.
    pub enricher: bool,
    /// Exports `reaction`.
    pub reaction: bool,
}

impl Roles {
    /// Their names, in the order of the flow.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.filter, "filter"), (self.enricher, "enricher"), (self.reaction, "reaction")]
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name))
    }
}

/// Where loading a version stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The component or its sidecar cannot be read.
    Read,
    /// Nobody who is trusted has signed it, or it is not the component that its sidecar pins.
    Trust,
    /// The sidecar is wrong.
    Sidecar,
    /// The bytes are no component.
    Compile,
    /// The component is no plugin.
    Roles,
    /// The sidecar grants what cannot be granted.
    Capability,
    /// The component imports what the host does not have.
    Link,
    /// A first instance traps or hangs.
    Instantiate,
    /// The guest cannot say what it is.
    Describe,
    /// The guest refuses its configuration.
    Configure,
    /// It ran, failed while it was on probation, and was left for the version before.
    Probation,
    /// It ran, and somebody rolled it back.
    Rollback,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Trust => "trust",
            Self::Sidecar => "sidecar",
            Self::Compile => "compile",
            Self::Roles => "roles",
            Self::Capability => "capability",
            Self::Link => "link",
            Self::Instantiate => "instantiate",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Probation => "probation",
            Self::Rollback => "rollback",
        })
    }
}

/// Why a version was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {step}: {reason}", file.display())]
pub struct LoadError {
    /// The file at fault.
    pub file: PathBuf,
    /// Where it stopped.
    pub step: Step,
    /// Why, and the way out.
    pub reason: String,
}

/// Compiles `bytes`. Takes a core for as long as it needs: call it off the event path.
pub(super) fn compile(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, String> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            return Err("a core module, not a component (build it for wasm32-wasip2, or wrap it \
                        with `wasm-tools component new`)"
                .into());
        }
        _ => return Err("not WebAssembly, or only half written".into()),
    }
    Component::new(engine, bytes).map_err(|e| format!("{:#}", e))
}

/// The exports of one role, resolved once for all instances.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) guest: guest::GuestIndices,
    pub(super) filter: Option<filter::GuestIndices>,
    pub(super) enricher: Option<enricher::GuestIndices>,
    pub(super) reaction: Option<reaction::GuestIndices>,
}

impl Exports {
    pub(super) fn roles(&self) -> Roles {
        Roles {
            filter: self.filter.is_some(),
            enricher: self.enricher.is_some(),
            reaction: self.reaction.is_some(),
        }
    }
}

/// Which of our interfaces the component exports, with the wrong ones named.
pub(super) fn roles(component: &Component) -> Result<Roles, String> {
    let engine = component.engine();
    let ty = component.component_type();
    let ours: Vec<(&str, &str)> = ty
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .filter_map(|(name, _)| name.strip_prefix("ennio:plugin/")?.split_once('@'))
        .collect();
    let has = |role: &str| ours.contains(&(role, VERSION));
    let roles =
        Roles { filter: has("filter"), enricher: has("enricher"), reaction: has("reaction") };
    if let Some((_, other)) = ours.iter().find(|(_, version)| *version != VERSION) {
        return Err(format!(
            "speaks ennio:plugin@{other}, this host speaks {VERSION} (build it against this host's wit)"
        ));
    }
    if roles == Roles::default() {
        let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let exports = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
        return Err(format!(
            "exports none of ennio:plugin's filter, enricher and reaction, but {exports}"
        ));
    }
    if !has("guest") {
        return Err(format!(
            "does not export ennio:plugin/guest@{VERSION}, which every plugin needs"
        ));
    }
    Ok(roles)
}

pub(super) fn exports(pre: &InstancePre<Guest>, roles: Roles) -> wasmtime::Result<Exports> {
    Ok(Exports {
        guest: guest::GuestIndices::new(pre)?,
        filter: roles.filter.then(|| filter::GuestIndices::new(pre)).transpose()?,
        enricher: roles.enricher.then(|| enricher::GuestIndices::new(pre)).transpose()?,
        reaction: roles.reaction.then(|| reaction::GuestIndices::new(pre)).transpose()?,
    })
}
