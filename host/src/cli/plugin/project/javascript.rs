//! JavaScript: the project's own `npm run build` makes the component, with componentize-js.

use std::path::Path;

use serde::Deserialize;

use super::{
    Language, ProjectError,
    tool::{Tool, is_debian},
};
use crate::cli::output::note;

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// The name in `package.json`.
pub(super) fn name(package: &str) -> Result<String, String> {
    let package: Package = serde_json::from_str(package).map_err(|e| e.to_string())?;
    Ok(package.name)
}

pub(super) async fn build(folder: &Path, component: &Path) -> Result<(), ProjectError> {
    install(folder).await?;
    // What an earlier build left there would pass for what this one made.
    match std::fs::remove_file(component) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(ProjectError::file(component)(e));
        }
        _ => {}
    }
    let build = npm(folder).args(["run", "--silent", "build"]);
    let command = build.line().to_owned();
    build.run().await?;
    match component.exists() {
        true => Ok(()),
        false => Err(ProjectError::NoComponent {
            command,
            reason: format!("it has to make {}", component.display()),
        }),
    }
}

pub(super) async fn test(folder: &Path) -> Result<(), ProjectError> {
    install(folder).await?;
    npm(folder).args(["run", "--silent", "test"]).run().await
}

/// Fetches what the project is built with, the first time.
async fn install(folder: &Path) -> Result<(), ProjectError> {
    if folder.join("node_modules").exists() {
        return Ok(());
    }
    note("node_modules is missing: installing what package.json names");
    npm(folder).args(["install", "--no-fund", "--no-audit"]).run().await
}

fn npm(folder: &Path) -> Tool {
    Tool::new("npm", Language::JavaScript.name(), how_to_install, folder)
}

fn how_to_install() -> String {
    match is_debian() {
        true => "apt-get install nodejs npm".into(),
        false => "install Node.js 20 or newer, which brings it".into(),
    }
}
