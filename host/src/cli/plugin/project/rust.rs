//! Rust: cargo makes the component.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Language, ProjectError, tool::Tool, toolchain::Toolchain};
use crate::cli::output::note;

#[derive(Deserialize)]
struct Manifest {
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// The name in `Cargo.toml`.
pub(super) fn name(manifest: &str) -> Result<String, String> {
    let manifest: Manifest = toml::from_str(manifest).map_err(|e| e.to_string())?;
    let package = manifest.package.ok_or("it has no [package] (name the folder of one member)")?;
    Ok(package.name)
}

pub(super) async fn build(folder: &Path, component: &Path) -> Result<(), ProjectError> {
    let toolchain = Toolchain::find(folder)?;
    note(&format!("compiling with {toolchain}"));
    let build = cargo(folder).args(["build", "--lib"]);
    // Diagnostics as people read them; for us, where cargo put the component.
    let build = toolchain.dress(build.arg("--message-format=json-render-diagnostics"));
    let messages = build.output().await?;
    let made =
        made(&messages, &folder.join("Cargo.toml")).ok_or_else(|| ProjectError::NoComponent {
            command: "cargo build".into(),
            reason: "Cargo.toml needs crate-type = [\"cdylib\"] under [lib]".into(),
        })?;
    fs::copy(&made, component).map_err(ProjectError::file(component))?;
    Ok(())
}

pub(super) async fn test(folder: &Path) -> Result<(), ProjectError> {
    cargo(folder).arg("test").run().await
}

/// The component among cargo's messages.
fn made(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        manifest_path: Option<PathBuf>,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let is_ours = |path: &Path| match (path.canonicalize(), manifest.canonicalize()) {
        (Ok(path), Ok(manifest)) => path == manifest,
        _ => false,
    };
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.manifest_path.as_deref().is_some_and(is_ours))
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

fn cargo(folder: &Path) -> Tool {
    let install = || "install Rust with rustup".into();
    Tool::new("cargo", Language::Rust.name(), install, folder)
}
