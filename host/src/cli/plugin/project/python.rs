//! Python: componentize-py makes the component, from a virtual environment of the project's own.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Language, ProjectError,
    tool::{Tool, failed, is_debian},
};
use crate::cli::output::note;

/// What `python -m unittest` ends with when a project has no tests.
const NO_TESTS: i32 = 5;

#[derive(Deserialize)]
struct PyProject {
    project: ProjectTable,
    tool: Option<ToolTable>,
}

#[derive(Deserialize)]
struct ProjectTable {
    name: String,
}

#[derive(Deserialize)]
struct ToolTable {
    ennio: Option<Ennio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ennio {
    world: String,
}

/// The name in `pyproject.toml`.
pub(super) fn name(pyproject: &str) -> Result<String, String> {
    Ok(read(pyproject)?.project.name)
}

fn read(pyproject: &str) -> Result<PyProject, String> {
    toml::from_str(pyproject).map_err(|e| e.to_string())
}

pub(super) async fn build(folder: &Path, component: &Path) -> Result<(), ProjectError> {
    let file = folder.join(Language::Python.manifest());
    let text = std::fs::read_to_string(&file).map_err(ProjectError::file(&file))?;
    let fault = |reason| ProjectError::Manifest { file: file.clone(), reason };
    let ennio = read(&text).map_err(fault)?.tool.and_then(|tool| tool.ennio);
    let Ennio { world } = ennio.ok_or_else(|| {
        fault("[tool.ennio] is missing (world = \"filter-plugin\" or another of wit/)".into())
    })?;
    install(folder).await?;
    let environment = environment(folder);
    let componentize = environment.join("bin/componentize-py");
    Tool::at(&componentize, "componentize-py", Language::Python.name(), how_to_install, folder)
        // Where the packages are that requirements.txt names for the plugin itself.
        .env("VIRTUAL_ENV", &environment)
        .args(["-q", "-d", "wit", "-w", &world, "componentize", "app", "-p", ".", "-o"])
        .arg(component)
        .run()
        .await
}

pub(super) async fn test(folder: &Path) -> Result<(), ProjectError> {
    install(folder).await?;
    let tests = python(folder).args(["-m", "unittest"]);
    match tests.status().await? {
        (_, status) if status.success() => Ok(()),
        (_, status) if status.code() == Some(NO_TESTS) => Ok(()),
        (command, status) => Err(failed(command, status)),
    }
}

/// Makes the virtual environment, the first time.
async fn install(folder: &Path) -> Result<(), ProjectError> {
    let environment = environment(folder);
    if environment.join("bin/componentize-py").exists() {
        return Ok(());
    }
    note("there is no componentize-py in .venv: installing what requirements.txt names");
    Tool::new("python3", Language::Python.name(), how_to_install, folder)
        .args(["-m", "venv"])
        .arg(&environment)
        .run()
        .await?;
    python(folder)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["-r", "requirements.txt"])
        .run()
        .await
}

fn python(folder: &Path) -> Tool {
    let python = environment(folder).join("bin/python");
    Tool::at(&python, "python", Language::Python.name(), how_to_install, folder)
        // Compiled files would lie about in the source.
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

fn environment(folder: &Path) -> PathBuf {
    folder.join(".venv")
}

fn how_to_install() -> String {
    match is_debian() {
        true => "apt-get install python3 python3-venv".into(),
        false => "install Python 3.10 or newer, with its venv module".into(),
    }
}
