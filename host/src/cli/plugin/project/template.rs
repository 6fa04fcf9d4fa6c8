//! Makes a project of the templates under `host/templates/plugin`, with the contract and, for
//! Rust, the SDK, all of which this binary carries: what it makes fits this host.
//!
//! Templates are real files, which work as they are for a plugin named `my-plugin`. Three words are
//! replaced in their text: `my-plugin`, `MyPlugin` and `my-role`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use include_dir::{Dir, include_dir};
use thiserror::Error;

use super::Language;
use crate::event::PluginName;

static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/plugin");
static WIT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../wit");
static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk");
/// What the SDK's manifest inherits.
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");
/// Where the SDK lies in a project. It finds the contract two folders up.
const SDK_FOLDER: &str = "sdk/ennio-plugin";

/// Names that a Rust package cannot have: keywords, the standard library's crates, and what the
/// project depends on.
const TAKEN_IN_RUST: &str = "\
    abstract alloc as async await become box break const continue core crate do dyn else \
    ennio-plugin enum extern false final fn for gen if impl in let loop macro match mod move \
    mut override priv proc-macro pub ref return self serde serde-json static std struct super \
    test trait true try type typeof unsafe unsized use virtual where while wit-bindgen yield";

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli::plugin) enum Role {
    /// Keeps or drops events, before they are stored
    Filter,
    /// Adds to events, before they are stored
    Enricher,
    /// Does something about events, after they are stored
    Reaction,
}

impl Role {
    pub(in crate::cli::plugin) fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Enricher => "enricher",
            Self::Reaction => "reaction",
        }
    }
}

/// Why no project was made.
#[derive(Debug, Error)]
pub(in crate::cli::plugin) enum NewError {
    #[error("{name:?} cannot be a new plugin's name: {reason} (like quiet-hours)")]
    Name { name: String, reason: String },
    #[error("{} is already there, and nothing is overwritten (name another with --dir)", .0.display())]
    Exists(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the SDK in this binary cannot be unpacked: {0}")]
    Sdk(String),
}

/// Makes a project in the new folder `folder`: whole, or not at all.
pub(in crate::cli::plugin) fn create(
    folder: &Path,
    name: &str,
    role: Role,
    language: Language,
) -> Result<(), NewError> {
    check_name(name, language)?;
    if folder.symlink_metadata().is_ok() {
        return Err(NewError::Exists(folder.into()));
    }
    let files = files(name, role, language)?;
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::File { path, source }
    };
    // Beside its place, then in one step there.
    let unfinished =
        tempfile::Builder::new().prefix(".ennio-new-").tempdir_in(parent).map_err(fault(parent))?;
    let root = unfinished.path().join("project");
    for (path, text) in files {
        let file = root.join(&path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(fault(folder))?;
        }
        fs::write(&file, text).map_err(fault(&file))?;
    }
    fs::rename(&root, folder).map_err(fault(folder))
}

/// One rule for all languages, since a package of each has to be able to have the name.
fn check_name(name: &str, language: Language) -> Result<(), NewError> {
    let fault = |reason: String| NewError::Name { name: name.into(), reason };
    name.parse::<PluginName>().map_err(|e| fault(e.to_string()))?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(is_plain) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(fault("lower-case letters, digits and hyphens, the first a letter".into()));
    }
    if name.ends_with('-') {
        return Err(fault("it ends with a hyphen".into()));
    }
    match language == Language::Rust && TAKEN_IN_RUST.split(' ').any(|word| word == name) {
        true => Err(fault("Rust has another use for this word".into())),
        false => Ok(()),
    }
}

/// Every file of a project, by its path in it.
fn files(name: &str, role: Role, language: Language) -> Result<Vec<(PathBuf, Vec<u8>)>, NewError> {
    let replace = |text: &str| {
        let text = text.replace("my-plugin", name).replace("MyPlugin", &type_name(name));
        text.replace("my-role", role.name())
    };
    let language_folder = match language {
        Language::Rust => "rust",
        Language::JavaScript => "javascript",
        Language::Python => "python",
    };
    let layers = [
        format!("sidecar/{}", role.name()),
        format!("{language_folder}/any"),
        format!("{language_folder}/{}", role.name()),
    ];
    let mut files = Vec::new();
    for layer in &layers {
        for (path, bytes) in TEMPLATES.get_dir(layer).map(all_files).unwrap_or_default() {
            let path = path.strip_prefix(layer).unwrap_or(path);
            let text = String::from_utf8_lossy(bytes);
            files.push((replace(&path.to_string_lossy()).into(), replace(&text).into_bytes()));
        }
    }
    for (path, bytes) in all_files(&WIT) {
        files.push((Path::new("wit").join(path), bytes.to_vec()));
    }
    if language == Language::Rust {
        for (path, bytes) in all_files(&SDK) {
            let bytes = match path == Path::new("Cargo.toml") {
                true => standalone(&String::from_utf8_lossy(bytes), WORKSPACE)?.into_bytes(),
                false => bytes.to_vec(),
            };
            files.push((Path::new(SDK_FOLDER).join(path), bytes));
        }
    }
    Ok(files)
}

fn all_files<'a>(folder: &'a Dir<'a>) -> Vec<(&'a Path, &'a [u8])> {
    let mut files: Vec<_> = folder.files().map(|file| (file.path(), file.contents())).collect();
    files.extend(folder.dirs().flat_map(all_files));
    files
}

/// A member's manifest without its workspace: what it inherits, written out.
fn standalone(manifest: &str, workspace: &str) -> Result<String, NewError> {
    let fault = |e: toml::de::Error| NewError::Sdk(e.to_string());
    let mut manifest: toml::Table = manifest.parse().map_err(fault)?;
    let workspace: toml::Table = workspace.parse().map_err(fault)?;
    let shared = workspace.get("workspace").and_then(|table| table.get("package"));
    if let Some(package) = manifest.get_mut("package").and_then(toml::Value::as_table_mut) {
        for (key, value) in package.iter_mut() {
            if value.get("workspace").is_none() {
                continue;
            }
            match shared.and_then(|shared| shared.get(key)) {
                Some(inherited) => *value = inherited.clone(),
                None => return Err(NewError::Sdk(format!("nothing says what {key} is"))),
            }
        }
    }
    // The house's own rules, and none of a guest's business.
    manifest.remove("lints");
    Ok(manifest.to_string())
}

/// `quiet-hours` as `QuietHoursPlugin`, which can be none of the SDK's names.
fn type_name(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('-') {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    match camel.strip_suffix("Plugin") {
        Some(rest) if !rest.is_empty() => camel,
        _ => camel + "Plugin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_language_or_a_host_would_refuse_are_refused() {
        for good in ["quiet-hours", "a", "ci-2"] {
            assert!(check_name(good, Language::Rust).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "Quiet", "2nd", "-x", "x-", "a_b", "a.b", "a/b", "..", "ä", &long] {
            for language in Language::ALL {
                assert!(check_name(bad, language).is_err(), "{bad}");
            }
        }
        assert!(check_name("match", Language::Rust).is_err());
        assert!(check_name("match", Language::Python).is_ok());
    }

    #[test]
    fn no_name_gives_a_type_that_the_sdk_has() {
        for (name, expected) in [
            ("quiet-hours", "QuietHoursPlugin"),
            ("my-plugin", "MyPlugin"),
            ("plugin", "PluginPlugin"),
            ("filter", "FilterPlugin"),
            ("a--b", "ABPlugin"),
        ] {
            assert_eq!(type_name(name), expected);
        }
    }

    #[test]
    fn every_project_is_complete_and_keeps_no_word_of_the_template() {
        for language in Language::ALL {
            for role in [Role::Filter, Role::Enricher, Role::Reaction] {
                let files = files("quiet", role, language).unwrap();
                let has = |file: &str| files.iter().any(|(path, _)| path == Path::new(file));
                for file in [language.manifest(), "quiet.toml", "README.md", ".gitignore"] {
                    assert!(has(file), "{language:?} {role:?}: {file}");
                }
                assert!(has("wit/worlds.wit") && has("wit/deps/config/store.wit"));
                assert_eq!(has("sdk/ennio-plugin/src/lib.rs"), language == Language::Rust);
                for (path, bytes) in &files {
                    let text = String::from_utf8_lossy(bytes);
                    for word in ["my-plugin", "MyPlugin", "my-role"] {
                        // The SDK's documentation has a plugin of that name.
                        let is_sdk = path.starts_with("sdk") && word == "MyPlugin";
                        assert!(is_sdk || !text.contains(word), "{word} in {}", path.display());
                    }
                }
            }
        }
    }

    #[test]
    fn the_sdk_stands_alone() {
        let manifest = SDK.get_file("Cargo.toml").unwrap().contents_utf8().unwrap();
        let alone: toml::Table = standalone(manifest, WORKSPACE).unwrap().parse().unwrap();
        assert_eq!(alone["package"]["edition"].as_str(), Some("2024"));
        assert!(!toml::to_string(&alone).unwrap().contains("workspace"));
    }
}
