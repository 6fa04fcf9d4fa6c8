//! The plugin folder: what lies there, and whether it is still what was read before.
//!
//! Contents decide, never names of events or times of files. But a component of 18 MB is not read
//! every second to find that nothing changed: where file, size and times are those of the last
//! reading, and were quiet for a while when that reading was made, so are the contents.
//!
//! Knows files. May not know what runs.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

use super::component::{LoadError, MAX_BYTES, Step};

/// A file that changed within this time is still being written.
const SETTLE: Duration = Duration::from_millis(200);
/// File systems keep times in steps of up to 2 s: what changed within one, right after it was read,
/// may look as it did before.
pub(super) const COARSE: Duration = Duration::from_secs(2);
/// The largest sidecar, in bytes.
pub(super) const MAX_SIDECAR: u64 = 1 << 20;
/// The largest signature file, in bytes. Real ones have about 300.
pub(super) const MAX_SIGNATURE: u64 = 4096;

/// What tells whether a file is another one than before. The time of the last change of its inode
/// is no one's to set: it also gives away a file whose old times were restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it has been as it is for at least `time`.
    pub(super) fn quiet_for(&self, time: Duration) -> bool {
        let (seconds, nanos) = self.changed;
        let since = Duration::new(u64::try_from(seconds).unwrap_or(0), nanos as u32);
        let changed = SystemTime::UNIX_EPOCH + since;
        changed.elapsed().is_ok_and(|age| age >= time)
    }
}

/// How a component, its sidecar and their signatures looked when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    component: Stamp,
    sidecar: Option<Stamp>,
    /// Of the component and of the sidecar; nobody looks where signatures do not count.
    signatures: [Option<Stamp>; 2],
}

impl Look {
    fn quiet_for(&self, time: Duration) -> bool {
        let [component, sidecar] = &self.signatures;
        let beside = [&self.sidecar, component, sidecar];
        self.component.quiet_for(time)
            && beside.iter().all(|stamp| stamp.as_ref().is_none_or(|stamp| stamp.quiet_for(time)))
    }
}

/// The contents of a component, its sidecar and their signatures.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) component: Arc<str>,
    pub(super) sidecar: Option<Arc<str>>,
    signatures: [Option<Arc<str>>; 2],
}

/// What lies in the folder under one name.
pub(super) struct Candidate {
    pub(super) file: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) sidecar: Option<String>,
    /// Where that lies, or would.
    pub(super) sidecar_file: PathBuf,
    /// The texts of the signature files of the component and of the sidecar.
    pub(super) signatures: [Option<String>; 2],
    pub(super) fingerprint: Fingerprint,
    /// `None` when it changed too lately for its look to prove anything.
    pub(super) look: Option<Look>,
}

pub(super) enum Found {
    Candidate(Box<Candidate>),
    /// As it was when it was read last.
    Unchanged,
    Unreadable(LoadError),
    /// Still being written.
    Unsettled,
}

/// What lies in `folder`, by name. `known` is how the files looked that need not be read again;
/// `settled` says that nobody is writing, `signatures` that they count.
pub(super) fn scan(
    folder: &Path,
    settled: bool,
    signatures: bool,
    known: &BTreeMap<String, Look>,
) -> io::Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let Some(name) = file.file_stem() else { continue };
        let name = name.to_string_lossy().into_owned();
        if let Some(what) = read(&file, settled, signatures, known.get(&name)) {
            found.insert(name, what);
        }
    }
    Ok(found)
}

/// What `file` and the sidecar beside it hold; `None` when there is no such file.
pub(super) fn read(
    file: &Path,
    settled: bool,
    signatures: bool,
    known: Option<&Look>,
) -> Option<Found> {
    let sidecar_file = file.with_extension("toml");
    let fault = |file: &Path, reason: String| {
        Some(Found::Unreadable(LoadError { file: file.into(), step: Step::Read, reason }))
    };
    let component = match look_at(file, MAX_BYTES) {
        Ok(Some(stamp)) => stamp,
        Ok(None) => return None,
        Err(reason) => return fault(file, reason),
    };
    let sidecar = match look_at(&sidecar_file, MAX_SIDECAR) {
        Ok(stamp) => stamp,
        Err(reason) => return fault(&sidecar_file, reason),
    };
    let mut look = Look { component, sidecar, signatures: [None, None] };
    let signature_files = [signature_file(file), signature_file(&sidecar_file)];
    if signatures {
        for (file, stamp) in signature_files.iter().zip(&mut look.signatures) {
            match look_at(file, MAX_SIGNATURE) {
                Ok(found) => *stamp = found,
                Err(reason) => return fault(file, reason),
            }
        }
    }
    if known == Some(&look) {
        return Some(Found::Unchanged);
    }
    if !settled && !look.quiet_for(SETTLE) {
        return Some(Found::Unsettled);
    }
    let firm = look.quiet_for(COARSE);
    let bytes = match contents(file, &look.component) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Some(Found::Unsettled),
        Err(e) => return fault(file, e.to_string()),
    };
    let [component_signature, sidecar_signature] = &signature_files;
    let [of_component, of_sidecar] = &look.signatures;
    let mut texts = [None, None, None];
    let parts = [
        (&sidecar_file, &look.sidecar),
        (component_signature, of_component),
        (sidecar_signature, of_sidecar),
    ];
    for ((file, stamp), text) in parts.into_iter().zip(&mut texts) {
        let Some(stamp) = stamp else { continue };
        *text = match contents(file, stamp) {
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(e) => return fault(file, format!("not UTF-8: {}", e.utf8_error())),
            },
            Ok(None) => return Some(Found::Unsettled),
            Err(e) => return fault(file, e.to_string()),
        };
    }
    let [sidecar, of_component, of_sidecar] = texts;
    let hash = |text: &Option<String>| text.as_ref().map(|text| sha256(text.as_bytes()));
    let fingerprint = Fingerprint {
        component: sha256(&bytes),
        sidecar: hash(&sidecar),
        signatures: [hash(&of_component), hash(&of_sidecar)],
    };
    let signatures = [of_component, of_sidecar];
    let look = firm.then_some(look);
    let file = file.into();
    let candidate = Candidate { file, bytes, sidecar, sidecar_file, signatures, fingerprint, look };
    Some(Found::Candidate(Box::new(candidate)))
}

/// Where the signature of `file` lies.
pub(super) fn signature_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// How `file`, or what it links to, looks; `None` when there is nothing of this name.
fn look_at(file: &Path, max: u64) -> Result<Option<Stamp>, String> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => Err("is a folder".into()),
        // Reading a pipe would wait for ever, and a device may have no end.
        Ok(metadata) if !metadata.is_file() => Err("is not a regular file".into()),
        Ok(metadata) if metadata.len() > max => {
            Err(format!("{} bytes, at most {max} are allowed", metadata.len()))
        }
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.to_string()),
        Err(_) if fs::symlink_metadata(file).is_ok() => {
            Err("is a link to a file that does not exist".into())
        }
        Err(_) => Ok(None),
    }
}

/// The bytes of `file`; `None` when it is not the one that was looked at, or changes meanwhile.
fn contents(file: &Path, looked: &Stamp) -> io::Result<Option<Vec<u8>>> {
    let mut open = match File::open(file) {
        Ok(open) => open,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let same = |open: &File| open.metadata().map(|metadata| Stamp::of(&metadata) == *looked);
    if !same(&open)? {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(looked.len as usize);
    // One byte more than it should have, so that a file that grows for ever comes to an end here.
    Read::by_ref(&mut open).take(looked.len + 1).read_to_end(&mut bytes)?;
    Ok((same(&open)? && bytes.len() as u64 == looked.len).then_some(bytes))
}

pub(super) fn sha256(bytes: &[u8]) -> Arc<str> {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(found: &BTreeMap<String, Found>) -> BTreeMap<String, Look> {
        let looks = found.iter().filter_map(|(name, found)| match found {
            Found::Candidate(candidate) => Some((name.clone(), candidate.look.clone()?)),
            _ => None,
        });
        looks.collect()
    }

    fn firm(folder: &Path) -> BTreeMap<String, Look> {
        // Waits until what lies there is old enough to be known again by its look.
        loop {
            let looks = known(&scan(folder, true, true, &BTreeMap::new()).unwrap());
            if !looks.is_empty() {
                return looks;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn set_modified(file: &Path, to: SystemTime) {
        File::options().write(true).open(file).unwrap().set_modified(to).unwrap();
    }

    #[test]
    fn what_did_not_change_is_not_read_again_and_what_did_is_however_it_hides() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("a.wasm"), "one").unwrap();
        assert!(
            known(&scan(folder.path(), true, true, &BTreeMap::new()).unwrap()).is_empty(),
            "what has just changed proves nothing by its look"
        );
        let modified = fs::metadata(file("a.wasm")).unwrap().modified().unwrap();
        let looks = firm(folder.path());
        let unchanged = || {
            let found = scan(folder.path(), true, true, &looks).unwrap();
            matches!(found["a"], Found::Unchanged)
        };
        assert!(unchanged());
        // Same size, same time: rewritten in place, and by a rename.
        fs::write(file("a.wasm"), "two").unwrap();
        set_modified(&file("a.wasm"), modified);
        assert!(!unchanged());
        fs::write(file("b"), "one").unwrap();
        set_modified(&file("b"), modified);
        fs::rename(file("b"), file("a.wasm")).unwrap();
        assert!(!unchanged());

        let looks = firm(folder.path());
        fs::write(file("a.toml"), "").unwrap();
        let found = scan(folder.path(), true, true, &looks).unwrap();
        let Found::Candidate(candidate) = &found["a"] else { panic!("a sidecar came") };
        assert_eq!(candidate.sidecar.as_deref(), Some(""));
    }

    #[test]
    fn a_link_looks_like_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(file(version)).unwrap();
            fs::write(file(version).join("a.wasm"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", file("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.wasm", file("a.wasm")).unwrap();
        let looks = firm(folder.path());
        std::os::unix::fs::symlink("v2", file("..next")).unwrap();
        fs::rename(file("..next"), file("..data")).unwrap();
        let found = scan(folder.path(), true, true, &looks).unwrap();
        let Found::Candidate(candidate) = &found["a"] else { panic!("the link was swapped") };
        assert_eq!(candidate.bytes, b"v2");
        fs::remove_dir_all(file("v2")).unwrap();
        let found = scan(folder.path(), true, true, &looks).unwrap();
        let Found::Unreadable(error) = &found["a"] else { panic!("the link dangles") };
        assert!(error.reason.contains("does not exist"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::create_dir(file("folder.wasm")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", file("device.wasm")).unwrap();
        fs::write(file("large.wasm"), "").unwrap();
        File::options()
            .write(true)
            .open(file("large.wasm"))
            .unwrap()
            .set_len(MAX_BYTES + 1)
            .unwrap();
        fs::write(file("pipe.wasm"), "").unwrap();
        std::os::unix::fs::symlink("/dev/zero", file("pipe.toml")).unwrap();
        let found = scan(folder.path(), true, true, &BTreeMap::new()).unwrap();
        for (name, reason) in [
            ("folder", "is a folder"),
            ("device", "not a regular file"),
            ("large", "at most"),
            ("pipe", "not a regular file"),
        ] {
            let Found::Unreadable(error) = &found[name] else { panic!("{name}") };
            assert!(error.reason.contains(reason), "{error}");
        }
    }
}
