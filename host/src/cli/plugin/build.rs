//! `ennio plugin build`: from a project to a component that a host would load.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::project::{Built, Project};
use crate::{
    cli::output::{Output, plain},
    plugin::{Plugin, Registry},
};

/// Build the plugin whose project is in a folder, and check it as a host would.
///
/// The language is told by what lies there: Cargo.toml (Rust), package.json (JavaScript) or
/// pyproject.toml (Python). The first build of a JavaScript or Python project fetches what it is
/// built with. A Rust that makes WebAssembly is found: one with the target wasm32-wasip2, else
/// Debian's. The component is DIR/dist/NAME.wasm, its sidecar NAME.toml beside it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Put the component here too, and its sidecar beside it
    #[arg(long, value_name = "FILE", value_parser = wasm_file)]
    out: Option<PathBuf>,
}

fn wasm_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|extension| extension == "wasm") {
        true => Ok(path),
        false => Err("a component's file is named NAME.wasm".into()),
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let project = Project::open(&args.dir)?;
    let (built, plugin) = build(&project).await?;
    let mut file = built.component.clone();
    if let Some(out) = args.out {
        place(&built, &out)?;
        file = out;
    }
    let bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let roles = plugin.roles().names().collect::<Vec<_>>().join(", ");
    let mut output = Output::stdout();
    output.line(&format!(
        "{}: {roles} {}, {bytes} bytes, would be loaded",
        file.display(),
        plain(plugin.version())
    ))?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the project, and loads what came of it as a host would.
pub(super) async fn build(project: &Project) -> anyhow::Result<(Built, Plugin)> {
    let built = project.build().await?;
    let plugin = Registry::new(None, None, crate::store::state::State::in_memory())?
        .examine(&built.component)
        .await
        .context("it was built, but would not be loaded")?;
    Ok((built, plugin))
}

/// Puts the component into `file` and its sidecar beside it, each in one step, the sidecar first: a
/// plugin that is new to a host should not start without its grants. Returns whether that changed
/// anything.
pub(super) fn place(built: &Built, file: &Path) -> anyhow::Result<bool> {
    let mut changed = false;
    if let Some(sidecar) = &built.sidecar {
        changed |= replace(sidecar, &file.with_extension("toml"))?;
    }
    changed |= replace(&built.component, file)?;
    Ok(changed)
}

/// Makes `to` a copy of `from`: written under another name, then renamed. Untouched where it is one.
fn replace(from: &Path, to: &Path) -> anyhow::Result<bool> {
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = to.with_file_name(name);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, to));
    written.or_else(|e: io::Error| {
        let _ = fs::remove_file(&beside);
        Err(e).with_context(|| to.display().to_string())
    })?;
    Ok(true)
}
