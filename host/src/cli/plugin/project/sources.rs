//! Tells when a project's source changed.
//!
//! By looking, not by the file system's notices: a project is some dozen files, looking at them
//! costs next to nothing, and it works in containers and on network mounts, whatever way an editor
//! saves.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What building and testing make, and what nobody edits.
const NOT_SOURCE: [&str; 5] = ["dist", "node_modules", "target", "__pycache__", "Cargo.lock"];

/// The state of a project's source, to be compared with a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::plugin) struct Sources(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Sources {
    /// Looks at every file of the source.
    pub(in crate::cli::plugin) fn look(folder: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        collect(folder, &mut files)?;
        Ok(Self(files))
    }
}

fn collect(
    folder: &Path,
    files: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Hidden: version control, virtual environments, editors' swap files.
        if name.starts_with('.') || name.ends_with('~') || NOT_SOURCE.contains(&&*name) {
            continue;
        }
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => collect(&path, files)?,
            Ok(metadata) => {
                files.insert(path, (metadata.len(), metadata.modified().ok()));
            }
            // Gone between the two looks, as when an editor saves.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_edited_counts_and_what_is_made_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("src/lib.rs", "one");
        let before = Sources::look(folder.path()).unwrap();
        for made in ["dist/a.wasm", "target/x", ".venv/y", "tests/__pycache__/z", "src/lib.rs~"] {
            write(made, "made");
        }
        assert_eq!(Sources::look(folder.path()).unwrap(), before);
        write("src/lib.rs", "other");
        let after = Sources::look(folder.path()).unwrap();
        assert_ne!(after, before);
        write("src/more.rs", "new");
        assert_ne!(Sources::look(folder.path()).unwrap(), after);
    }
}
