//! Components that `make guests` built, and folders of plugins made of them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A component under `tests/guests` or `examples/plugins`, or one of the first-party plugins.
pub fn guest(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let found = ["test-guests", "plugins", "language-guests"]
        .map(|folder| target.join(folder).join(format!("{name}.wasm")))
        .into_iter()
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("the component {name} is not built (run `make guests`)"))
}

/// A folder of plugins of a test's own.
pub struct Plugins(TempDir);

impl Plugins {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts the component `guest` there under `name`, at once, as a careful deployment does.
    pub fn install(&self, name: &str, component: &str) {
        self.write(&format!("{name}.wasm"), std::fs::read(guest(component)).unwrap());
    }

    pub fn with(self, name: &str, component: &str) -> Self {
        self.install(name, component);
        self
    }

    pub fn with_sidecar(self, name: &str, component: &str, sidecar: &str) -> Self {
        self.write(&format!("{name}.toml"), sidecar);
        self.with(name, component)
    }

    /// Writes beside, then renames over.
    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let beside = self.file(&format!("{file}.new"));
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, self.file(file)).unwrap();
    }
}
