//! A plugin as it travels: the component and what lies beside it, which belong together. The sidecar
//! grants and the signatures vouch, so one without the other is another plugin.
//!
//! Knows files. May not know where a bundle comes from, or how it is sent.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    component::{LoadError, MAX_BYTES, Step},
    folder::{Found, MAX_SIDECAR, MAX_SIGNATURE, read, sha256},
};
use crate::event::PluginName;

/// Under which names the texts beside a component travel.
const SIDECAR: &str = "sidecar";
const COMPONENT_SIGNATURE: &str = "component.minisig";
const SIDECAR_SIGNATURE: &str = "sidecar.minisig";

/// What lies beside a component.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beside {
    /// The sidecar, at most 1 MiB.
    pub(super) sidecar: Option<String>,
    /// The text of the component's signature, at most 4,096 bytes.
    pub(super) component_signature: Option<String>,
    /// That of the sidecar's.
    pub(super) sidecar_signature: Option<String>,
}

impl Beside {
    /// Out of texts by name; names that are not ours say nothing.
    ///
    /// # Errors
    /// Which text is longer than a host would read, and how long it may be.
    pub fn from_texts(mut texts: BTreeMap<String, String>) -> Result<Self, String> {
        let mut take = |name: &str, max: u64| match texts.remove(name) {
            Some(text) if text.len() as u64 > max => {
                Err(format!("{name}: {} bytes, at most {max} are allowed", text.len()))
            }
            text => Ok(text),
        };
        Ok(Self {
            sidecar: take(SIDECAR, MAX_SIDECAR)?,
            component_signature: take(COMPONENT_SIGNATURE, MAX_SIGNATURE)?,
            sidecar_signature: take(SIDECAR_SIGNATURE, MAX_SIGNATURE)?,
        })
    }

    /// The texts that are there, by name.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let texts = [
            (SIDECAR, &self.sidecar),
            (COMPONENT_SIGNATURE, &self.component_signature),
            (SIDECAR_SIGNATURE, &self.sidecar_signature),
        ];
        let there = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        there.map(|(name, text)| (name.to_owned(), text)).collect()
    }

    /// Whether there is a sidecar.
    pub fn has_sidecar(&self) -> bool {
        self.sidecar.is_some()
    }

    /// Whether the component has a signature.
    pub fn signed(&self) -> bool {
        self.component_signature.is_some()
    }
}

/// A component and what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub(super) component: Vec<u8>,
    pub(super) sha256: Arc<str>,
    pub(super) beside: Beside,
}

impl Bundle {
    /// The largest component, in bytes.
    pub const MAX_BYTES: u64 = MAX_BYTES;

    /// Puts together what came apart.
    pub fn new(component: Vec<u8>, beside: Beside) -> Self {
        Self { sha256: sha256(&component), component, beside }
    }

    /// Reads the component `NAME.wasm`, and beside it `NAME.toml`, `NAME.wasm.minisig` and
    /// `NAME.toml.minisig` where they are. Blocks.
    ///
    /// # Errors
    /// [`LoadError`] when one of them cannot be read, is too large, or the name is no plugin's.
    pub fn gather(file: &Path) -> Result<(PluginName, Self), LoadError> {
        let fault =
            |reason: &str| LoadError { file: file.into(), step: Step::Read, reason: reason.into() };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        if file.extension().is_none_or(|extension| extension != "wasm") {
            return Err(fault("is not called NAME.wasm"));
        }
        let name = stem.parse().map_err(|e| {
            fault(&format!(
                "the file's stem is the plugin's name, and {stem:?} {e} (rename the file)"
            ))
        })?;
        let candidate = match read(file, true, true, None) {
            Some(Found::Candidate(candidate)) => *candidate,
            Some(Found::Unreadable(error)) => return Err(error),
            Some(Found::Unsettled | Found::Unchanged) => return Err(fault("is being written")),
            None => return Err(fault("No such file or directory")),
        };
        let [component_signature, sidecar_signature] = candidate.signatures;
        let beside = Beside { sidecar: candidate.sidecar, component_signature, sidecar_signature };
        let sha256 = candidate.fingerprint.component;
        Ok((name, Self { component: candidate.bytes, sha256, beside }))
    }

    /// The component.
    pub fn component(&self) -> &[u8] {
        &self.component
    }

    /// Its SHA-256, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What lies beside it.
    pub fn beside(&self) -> &Beside {
        &self.beside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_component_travels_as_texts_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("a.wasm"), "code").unwrap();
        let (name, bare) = Bundle::gather(&file("a.wasm")).unwrap();
        assert_eq!(
            (name.as_str(), bare.component(), bare.beside().texts().len()),
            ("a", &b"code"[..], 0)
        );
        assert!(!bare.beside().signed());
        std::fs::write(file("a.toml"), "order = 1").unwrap();
        std::fs::write(file("a.wasm.minisig"), "of a.wasm").unwrap();
        std::fs::write(file("a.toml.minisig"), "of a.toml").unwrap();
        let (_, whole) = Bundle::gather(&file("a.wasm")).unwrap();
        let mut texts = whole.beside().texts();
        assert_eq!(texts.values().collect::<Vec<_>>(), ["of a.wasm", "order = 1", "of a.toml"]);
        texts.insert("version".into(), "1.0.0".into());
        let beside = Beside::from_texts(texts).unwrap();
        assert_eq!(Bundle::new(b"code".to_vec(), beside), whole);

        let long = BTreeMap::from([(SIDECAR_SIGNATURE.to_owned(), "x".repeat(4097))]);
        let reason = Beside::from_texts(long).unwrap_err();
        assert_eq!(reason, "sidecar.minisig: 4097 bytes, at most 4096 are allowed");
    }

    #[test]
    fn only_what_could_be_a_plugins_file_is_gathered() {
        let folder = tempfile::tempdir().unwrap();
        for (name, reason) in [
            ("a.txt", "is not called NAME.wasm"),
            ("a b.wasm", "is the plugin's name"),
            ("gone.wasm", "No such file"),
        ] {
            if name != "gone.wasm" {
                std::fs::write(folder.path().join(name), "code").unwrap();
            }
            let error = Bundle::gather(&folder.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(name), "{error}");
        }
    }
}
