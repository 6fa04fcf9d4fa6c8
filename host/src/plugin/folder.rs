//! The plugin folder: what lies there under each name, and whether somebody is still writing it.
//! Reads and compares; what becomes of it is not decided here.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::component::{LoadError, MAX_BYTES, Step};

/// A file that changed within this time is still being written.
const SETTLE: Duration = Duration::from_millis(200);

/// The longest signature file, in bytes. Real ones have about 300.
const MAX_SIGNATURE: u64 = 4096;

/// Tells what lies under a name from what lay there before, by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) component: Arc<str>,
    sidecar: Option<Arc<str>>,
    /// Empty where nobody asks for signatures.
    signatures: [Option<Arc<str>>; 2],
}

/// What lies in the folder under one name.
pub(super) struct Candidate {
    pub(super) file: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) sidecar: Option<String>,
    /// Of the component and of the sidecar.
    pub(super) signatures: Signatures,
    pub(super) fingerprint: Fingerprint,
}

/// The texts of the signature files that are there.
#[derive(Default)]
pub(super) struct Signatures {
    pub(super) component: Option<String>,
    pub(super) sidecar: Option<String>,
}

pub(super) enum Found {
    Candidate(Candidate),
    Unreadable(LoadError),
    /// Still being written.
    Unsettled,
}

/// How to look.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// Nobody is writing at the moment: what lies there is taken as it is.
    pub(super) settled: bool,
    /// Signatures count.
    pub(super) signatures: bool,
}

/// Every component in the folder, by name.
pub(super) fn scan(folder: &Path, look: Look) -> io::Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let Some(name) = file.file_stem() else { continue };
        found.insert(name.to_string_lossy().into_owned(), read(&file, look));
    }
    Ok(found)
}

/// The component `file` with what lies beside it.
pub(super) fn read(file: &Path, look: Look) -> Found {
    let sidecar_file = file.with_extension("toml");
    let fault = |file: &Path, reason: String| {
        Found::Unreadable(LoadError { file: file.into(), step: Step::Read, reason })
    };
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return fault(
                file,
                format!("{} bytes, at most {MAX_BYTES} are allowed", metadata.len()),
            );
        }
        Ok(_) => {}
        Err(e) => return fault(file, e.to_string()),
    }
    let sidecar = match text(&sidecar_file, MAX_BYTES) {
        Ok(sidecar) => sidecar,
        Err(e) => return fault(&sidecar_file, e.to_string()),
    };
    let mut parts = vec![file.to_owned(), sidecar_file.clone()];
    let mut signatures = Signatures::default();
    if look.signatures {
        let signature = |of: &Path| {
            let file = signature_file(of);
            text(&file, MAX_SIGNATURE).map_err(|e| fault(&file, e.to_string()))
        };
        (signatures.component, signatures.sidecar) =
            match (signature(file), signature(&sidecar_file)) {
                (Ok(component), Ok(sidecar)) => (component, sidecar),
                (Err(fault), _) | (_, Err(fault)) => return fault,
            };
        parts.extend([signature_file(file), signature_file(&sidecar_file)]);
    }
    let is_young = |metadata: &Metadata| {
        metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < SETTLE))
    };
    if !look.settled && parts.iter().any(|file| std::fs::metadata(file).is_ok_and(|m| is_young(&m)))
    {
        return Found::Unsettled;
    }
    match std::fs::read(file) {
        Ok(bytes) => {
            let of = |text: &Option<String>| text.as_ref().map(|text| sha256(text.as_bytes()));
            let fingerprint = Fingerprint {
                component: sha256(&bytes),
                sidecar: of(&sidecar),
                signatures: [of(&signatures.component), of(&signatures.sidecar)],
            };
            Found::Candidate(Candidate {
                file: file.into(),
                bytes,
                sidecar,
                signatures,
                fingerprint,
            })
        }
        Err(e) => fault(file, e.to_string()),
    }
}

/// Where the signature of `file` lies.
pub(super) fn signature_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// The text of a file that need not be there.
fn text(file: &Path, limit: u64) -> io::Result<Option<String>> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > limit => {
            let reason = format!("{} bytes, at most {limit} are allowed", metadata.len());
            Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
        }
        Ok(_) => std::fs::read_to_string(file).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn sha256(bytes: &[u8]) -> Arc<str> {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
