//! Compiled components on disk, so that a start does not compile again what it knows.
//!
//! An entry is native code that this process will run, so it is trusted like the binary itself:
//! the folder belongs to the host's user and nobody else can read or write it, and every entry
//! carries a MAC over its name and its bytes, under a key that lies in the same folder. What does
//! not match (a flipped bit, a torn write, two files swapped, another engine) is removed and
//! compiled again. Entries are read into memory, never mapped: a file that changes under a mapping
//! would change running code.
//!
//! **Names** are a hash of the component, the engine's version and its settings, so a new engine
//! finds nothing of the old one. **Writes** go to a temporary file that is renamed. **Size**: the
//! entries used longest ago go when there are more than [`ENTRIES`].

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use tracing::{debug, warn};
use wasmtime::{Engine, component::Component};

/// The most entries.
const ENTRIES: usize = 256;

/// Bytes of the MAC, in front of the code.
const MAC_BYTES: usize = 32;

const KEY_FILE: &str = "key";
const EXTENSION: &str = "cwasm";

/// Why a folder cannot be a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Others could put code there.
    #[error(
        "plugin cache {}: others than this user can get at it (remove it, or `chmod 700` it as its owner)",
        path.display()
    )]
    Exposed {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be used.
    #[error("plugin cache {}: {source}", path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A folder of compiled components.
pub struct Cache {
    folder: PathBuf,
    key: Vec<u8>,
}

impl Cache {
    /// Opens or makes the cache at `folder`.
    ///
    /// # Errors
    /// [`CacheError`] when the folder cannot be used, or others than this user can get at it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let fault = |source| CacheError::File { path: folder.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        // A file of our own tells who we are.
        let ours = NamedTempFile::new_in(folder).map_err(fault)?;
        let user = ours.as_file().metadata().map_err(fault)?.uid();
        let metadata = fs::symlink_metadata(folder).map_err(fault)?;
        if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
            return Err(CacheError::Exposed { path: folder.into() });
        }
        let key_file = folder.join(KEY_FILE);
        let key = match fs::read(&key_file) {
            Ok(key) if key.len() == MAC_BYTES => key,
            // Without its key, nothing in the folder is worth anything; with a new one it is all
            // found damaged and compiled again.
            _ => {
                let key = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
                let key: Vec<u8> = key.iter().flat_map(|half| *half.as_bytes()).collect();
                write(folder, &key_file, &key).map_err(fault)?;
                key
            }
        };
        Ok(Self { folder: folder.into(), key })
    }

    /// The component of this hash, if it was compiled by this engine before.
    pub(super) fn load(&self, engine: &Engine, hash: &str) -> Option<Component> {
        let name = name(engine, hash);
        let file = self.folder.join(&name);
        let bytes = fs::read(&file).ok()?;
        let component = bytes.split_at_checked(MAC_BYTES).and_then(|(mac, code)| {
            self.mac(&name, code)?.verify_slice(mac).ok()?;
            // SAFETY: `deserialize` must be given what `serialize` of a compatible engine gave.
            // The MAC says that this host's user wrote these bytes under this name, `store` only
            // writes what `serialize` gave, and the name holds the engine's compatibility hash.
            #[expect(unsafe_code, reason = "the only way to load precompiled code")]
            let component = unsafe { Component::deserialize(engine, code) };
            component.ok()
        });
        match component {
            Some(component) => {
                let used = fs::File::open(&file).and_then(|f| f.set_modified(SystemTime::now()));
                if let Err(e) = used {
                    debug!("plugin cache: {}: {e}", file.display());
                }
                Some(component)
            }
            None => {
                warn!("plugin cache: {} is damaged, it is compiled again", file.display());
                let _ = fs::remove_file(&file);
                None
            }
        }
    }

    /// Keeps what was compiled. A cache that cannot be written costs time, nothing else.
    pub(super) fn store(&self, engine: &Engine, hash: &str, component: &Component) {
        let name = name(engine, hash);
        let stored = component.serialize().map_err(io::Error::other).and_then(|code| {
            let mac = self.mac(&name, &code).ok_or_else(|| io::Error::other("no MAC"))?;
            let mut bytes = mac.finalize().into_bytes().to_vec();
            bytes.extend(code);
            write(&self.folder, &self.folder.join(&name), &bytes)?;
            self.prune()
        });
        if let Err(e) = stored {
            warn!("plugin cache {}: {e}", self.folder.display());
        }
    }

    fn mac(&self, name: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        // Names are of one length, so name and code cannot run into each other.
        mac.update(name.as_bytes());
        mac.update(code);
        Some(mac)
    }

    fn prune(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|e| e == EXTENSION) {
                entries.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES);
        entries.iter().take(surplus).try_for_each(|(_, file)| fs::remove_file(file))
    }
}

fn name(engine: &Engine, hash: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // May differ between versions of the standard library, which then find nothing: no harm.
    let mut compatibility = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let mut digest = Sha256::new();
    digest.update(hash.as_bytes());
    digest.update(compatibility.finish().to_le_bytes());
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}.{EXTENSION}")
}

/// Writes beside, flushes, renames over. Readable only by this user, as temporary files are.
fn write(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut beside, bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        engine: Engine,
        component: Component,
    }

    fn case() -> Case {
        let engine = Engine::default();
        let component =
            Component::new(&engine, wat::parse_str("(component (core module))").unwrap()).unwrap();
        Case { folder: tempfile::tempdir().unwrap(), engine, component }
    }

    impl Case {
        fn cache(&self) -> Cache {
            Cache::open(&self.folder.path().join("cache")).unwrap()
        }

        fn entry(&self, hash: &str) -> PathBuf {
            self.folder.path().join("cache").join(name(&self.engine, hash))
        }
    }

    #[test]
    fn what_was_compiled_is_found_again_by_its_hash_and_engine() {
        let case = case();
        case.cache().store(&case.engine, "one", &case.component);
        assert!(case.cache().load(&case.engine, "one").is_some(), "by the next process");
        assert!(case.cache().load(&case.engine, "two").is_none());
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert!(case.cache().load(&other, "one").is_none(), "other settings, other code");
        for file in [case.entry("one"), case.folder.path().join("cache/key")] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_torn_or_swapped_entry_is_never_run() {
        let case = case();
        let cache = case.cache();
        let damage: [fn(&mut Vec<u8>); 4] = [
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            |bytes| bytes[0] ^= 0x80,
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.clear(),
        ];
        for damage in damage {
            cache.store(&case.engine, "one", &case.component);
            let mut bytes = fs::read(case.entry("one")).unwrap();
            damage(&mut bytes);
            fs::write(case.entry("one"), bytes).unwrap();
            assert!(cache.load(&case.engine, "one").is_none());
            assert!(!case.entry("one").exists(), "it is gone, so it is compiled again");
        }
        cache.store(&case.engine, "one", &case.component);
        fs::rename(case.entry("one"), case.entry("two")).unwrap();
        assert!(cache.load(&case.engine, "two").is_none());
        cache.store(&case.engine, "one", &case.component);
        fs::remove_file(case.folder.path().join("cache/key")).unwrap();
        assert!(case.cache().load(&case.engine, "one").is_none(), "under another key");
    }

    #[test]
    fn a_folder_that_others_can_get_at_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Cache::open(folder.path()), Err(CacheError::Exposed { .. })));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(Cache::open(folder.path()).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(matches!(Cache::open(&link), Err(CacheError::Exposed { .. })));
    }
}
