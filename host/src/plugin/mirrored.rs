//! Plugins of the folder that somebody else has the say over: what they are, on disk, and the folder
//! brought in line with that.
//!
//! The records are in `FOLDER/.mirror/BUCKET/`: `NAME.json` says which component and what lies beside
//! it, and holds the texts; `SHA256.wasm` is the component. Writing `NAME.json` (a rename) is the
//! moment at which a new version counts. What follows is only to make the folder look like it: each of
//! the four files of a plugin is as the record says, or is made so. So a host that was killed in
//! between, or somebody who edits such a file, is put right by the same lines.
//!
//! Nothing that somebody else wrote is lost: what lies in the way is kept beside, as `FILE.local` (after a
//! kill in the middle of a change that may be a file of the version before).
//! Names that have no record are nobody's business here.
//!
//! Knows files, and blocks on them. May not know where plugins come from, or what runs: the registry
//! holds off every look at the folder while files are moved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tracing::warn;

use super::{
    bundle::{Beside, Bundle},
    component::MAX_BYTES,
    folder::{COARSE, Candidate, Stamp, sha256},
};
use crate::event::PluginName;

const FOLDER: &str = ".mirror";
const COMPONENT: &str = ".wasm";
const SIDECAR: &str = ".toml";
const COMPONENT_SIGNATURE: &str = ".wasm.minisig";
const SIDECAR_SIGNATURE: &str = ".toml.minisig";
/// What is behind a plugin's name, in the order in which its files are moved.
const SUFFIXES: [&str; 4] = [COMPONENT_SIGNATURE, SIDECAR_SIGNATURE, SIDECAR, COMPONENT];

/// What a plugin is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Of the component, hexadecimal.
    sha256: String,
    #[serde(flatten)]
    beside: Beside,
}

impl Record {
    /// What is to lie beside the component under this suffix.
    fn text(&self, suffix: &str) -> Option<&str> {
        let Beside { sidecar, component_signature, sidecar_signature } = &self.beside;
        match suffix {
            SIDECAR => sidecar.as_deref(),
            COMPONENT_SIGNATURE => component_signature.as_deref(),
            SIDECAR_SIGNATURE => sidecar_signature.as_deref(),
            _ => None,
        }
    }

    /// The hash of the file that is to lie there.
    fn hash(&self, suffix: &str) -> Option<String> {
        match suffix {
            COMPONENT => Some(self.sha256.clone()),
            _ => self.text(suffix).map(|text| sha256(text.as_bytes()).to_string()),
        }
    }
}

struct Kept {
    record: Record,
    /// How its files looked when they were found to be as they should be, unless that was so soon
    /// after a change that the look proves nothing.
    looks: Option<[Option<Stamp>; 4]>,
    /// Why they could not be made so the last time.
    fault: Option<String>,
}

/// One thing to do with one file.
struct Move {
    file: PathBuf,
    /// What lies there is not ours.
    aside: bool,
    /// What is to lie there.
    with: Option<NamedTempFile>,
}

pub(super) struct Mirrored {
    folder: PathBuf,
    records: PathBuf,
    kept: Mutex<BTreeMap<PluginName, Kept>>,
}

impl Mirrored {
    /// The plugins of `folder` that came from `source`, a name that is one path component.
    pub(super) fn open(folder: &Path, source: &str) -> io::Result<Self> {
        let records = folder.join(FOLDER).join(source);
        fs::create_dir_all(&records)?;
        let mirrored = Self { folder: folder.into(), records, kept: Mutex::default() };
        {
            let mut kept = mirrored.kept();
            for entry in fs::read_dir(&mirrored.records)? {
                let file = entry?.path();
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                let Ok(name) = stem.parse() else { continue };
                if file.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                match mirrored.read(&file) {
                    Ok(record) => {
                        drop(kept.insert(name, Kept { record, looks: None, fault: None }))
                    }
                    Err(reason) => {
                        warn!("{}: {reason}; the plugin is fetched anew", file.display());
                        fs::remove_file(&file)?;
                    }
                }
            }
            mirrored.sweep(&kept)?;
        }
        Ok(mirrored)
    }

    fn read(&self, file: &Path) -> Result<Record, String> {
        let text = fs::read(file).map_err(|e| e.to_string())?;
        let record: Record = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        let component = self.component(&record.sha256);
        let found = lies_there(&component).map_err(|e| e.to_string())?;
        match found.as_deref() == Some(&*record.sha256) {
            true => Ok(record),
            false => Err(format!("{} is missing or damaged", component.display())),
        }
    }

    /// Whether the plugin is this component with this beside it.
    pub(super) fn has(&self, name: &PluginName, sha256: &str, beside: &Beside) -> bool {
        let kept = self.kept();
        let record = kept.get(name).map(|kept| &kept.record);
        record.is_some_and(|record| record.sha256 == sha256 && record.beside == *beside)
    }

    /// Whether it has the say over the files of this name.
    pub(super) fn keeps(&self, name: &str) -> bool {
        name.parse().is_ok_and(|name: PluginName| self.kept().contains_key(&name))
    }

    /// Whether what lies in the folder may be loaded: whoever changes a file after [`Mirrored::restore`]
    /// has looked waits for the next look. What has no record may.
    pub(super) fn allows(&self, name: &str, found: &Candidate) -> bool {
        let kept = self.kept();
        let record = name.parse().ok().and_then(|name: PluginName| kept.get(&name));
        record.is_none_or(|Kept { record, .. }| {
            *found.fingerprint.component == *record.sha256 && found.sidecar == record.beside.sidecar
        })
    }

    /// Makes the plugin this one: the record, and the files in the folder. `Err` when it is as it was,
    /// or when a file could not be moved, which [`Mirrored::restore`] then does.
    pub(super) fn install(&self, name: &PluginName, bundle: &Bundle) -> io::Result<()> {
        let mut kept = self.kept();
        let record = Record { sha256: bundle.sha256.to_string(), beside: bundle.beside.clone() };
        let component = self.component(&record.sha256);
        if lies_there(&component)?.as_deref() != Some(&*record.sha256) {
            persist(self.write(&bundle.component)?, &component)?;
        }
        // Everything that may fail for want of room comes before the record.
        let old = kept.get(name).map(|kept| &kept.record);
        let moves = self.plan(name, old, Some(&record))?;
        let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
        persist(self.write(&text)?, &self.record(name))?;
        File::open(&self.records)?.sync_all()?;
        kept.insert(name.clone(), Kept { record, looks: None, fault: None });
        self.carry_out(name, moves)?;
        self.sweep(&kept)
    }

    /// Takes the plugin out of the folder, and forgets it. `false` when it is none of ours.
    pub(super) fn remove(&self, name: &PluginName) -> io::Result<bool> {
        let mut kept = self.kept();
        let Some(known) = kept.get(name) else { return Ok(false) };
        self.carry_out(name, self.plan(name, Some(&known.record), None)?)?;
        fs::remove_file(self.record(name))?;
        kept.remove(name);
        self.sweep(&kept)?;
        Ok(true)
    }

    /// Puts right whatever is not as it should be. What cannot be is logged, once.
    pub(super) fn restore(&self) {
        for (name, kept) in self.kept().iter_mut() {
            let looks = SUFFIXES.map(|suffix| {
                let metadata = fs::metadata(self.file(name, suffix)).ok();
                metadata.as_ref().map(Stamp::of)
            });
            if kept.looks.as_ref() == Some(&looks) {
                continue;
            }
            let record = &kept.record;
            let done = self.plan(name, Some(record), Some(record)).and_then(|moves| {
                let nothing = moves.is_empty();
                self.carry_out(name, moves)?;
                Ok(nothing)
            });
            let firm = looks.iter().flatten().all(|look| look.quiet_for(COARSE));
            kept.looks = (matches!(done, Ok(true)) && firm).then_some(looks);
            let fault = done.err().map(|e| e.to_string());
            if let Some(reason) = fault.as_ref().filter(|fault| kept.fault.as_ref() != Some(fault))
            {
                warn!("the mirrored plugin {name} cannot be put back: {reason}");
            }
            kept.fault = fault;
        }
    }

    /// What is to be done so that the plugin's files are those of `new`. What is neither that nor of
    /// `old` is somebody else's. Everything that is to be written is on disk when this returns.
    fn plan(
        &self,
        name: &PluginName,
        old: Option<&Record>,
        new: Option<&Record>,
    ) -> io::Result<Vec<Move>> {
        let mut moves = Vec::new();
        for suffix in SUFFIXES {
            let file = self.file(name, suffix);
            let found = lies_there(&file)?;
            let hash = |record: Option<&Record>| record.and_then(|record| record.hash(suffix));
            if found == hash(new) {
                continue;
            }
            let with = match new {
                Some(record) => self.stage(record, suffix)?,
                None => None,
            };
            moves.push(Move { file, aside: found.is_some() && found != hash(old), with });
        }
        Ok(moves)
    }

    /// What is to lie under this suffix, in a file beside the records.
    fn stage(&self, record: &Record, suffix: &str) -> io::Result<Option<NamedTempFile>> {
        if suffix != COMPONENT {
            return record.text(suffix).map(|text| self.write(text.as_bytes())).transpose();
        }
        let component = self.component(&record.sha256);
        let bytes = fs::read(&component)?;
        if *sha256(&bytes) != *record.sha256 {
            return Err(io::Error::other(format!("{} is damaged", component.display())));
        }
        self.write(&bytes).map(Some)
    }

    fn carry_out(&self, name: &PluginName, moves: Vec<Move>) -> io::Result<()> {
        if moves.is_empty() {
            return Ok(());
        }
        for Move { file, aside, with } in moves {
            if aside {
                let mut kept = file.clone().into_os_string();
                kept.push(".local");
                fs::rename(&file, &kept)?;
                warn!(
                    "the plugin {name} is mirrored: what somebody put there as {} is kept as {}",
                    file.display(),
                    Path::new(&kept).display()
                );
            }
            match with {
                Some(with) => persist(with, &file)?,
                None if aside => {}
                None => fs::remove_file(&file)?,
            }
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what no record needs: components of former versions, and what a killed host left.
    fn sweep(&self, kept: &BTreeMap<PluginName, Kept>) -> io::Result<()> {
        let needed: BTreeSet<PathBuf> = kept
            .iter()
            .flat_map(|(name, kept)| [self.record(name), self.component(&kept.record.sha256)])
            .collect();
        for entry in fs::read_dir(&self.records)? {
            let file = entry?.path();
            if !needed.contains(&file) {
                fs::remove_file(&file)?;
            }
        }
        Ok(())
    }

    /// A file of this content beside the records, on disk, as readable as others that this user makes.
    fn write(&self, bytes: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(&self.records)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn file(&self, name: &PluginName, suffix: &str) -> PathBuf {
        self.folder.join(format!("{name}{suffix}"))
    }

    fn record(&self, name: &PluginName) -> PathBuf {
        self.records.join(format!("{name}.json"))
    }

    fn component(&self, sha256: &str) -> PathBuf {
        self.records.join(format!("{sha256}.wasm"))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<PluginName, Kept>> {
        // What is known is renewed by the next look at the folder.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn persist(from: NamedTempFile, to: &Path) -> io::Result<()> {
    from.persist(to)?;
    Ok(())
}

/// The hash of what lies there; empty for what is no file that a plugin could have, `None` for
/// nothing.
fn lies_there(file: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        // A link to nothing is in the way all the same.
        Err(_) => return Ok(fs::symlink_metadata(file).ok().map(|_| String::new())),
    };
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Ok(Some(String::new()));
    }
    match fs::read(file) {
        Ok(bytes) => Ok(Some(sha256(&bytes).to_string())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
