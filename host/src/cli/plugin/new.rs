//! `ennio plugin new`: a project that builds and tests at once.

use std::{path::PathBuf, process::ExitCode};

use super::project::{Language, Role, create};
use crate::cli::output::Output;

/// Make a project for a new plugin, which builds and tests at once.
///
/// The folder gets a small plugin that works, a test of it, its sidecar with every key explained,
/// and the contract with the host; in Rust, the SDK too. Nothing is fetched, and nothing that is
/// already there is touched.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plugin's name: lower-case letters, digits and hyphens, the first a letter
    name: String,
    /// What it does
    #[arg(long, value_enum, default_value_t = Role::Filter)]
    role: Role,
    /// What it is written in
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value_t = Language::Rust)]
    lang: Language,
    /// The new folder; NAME in the current one by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    create(&folder, &args.name, args.role, args.lang)?;
    let (role, language) = (args.role.name(), args.lang.name());
    let test = match args.lang {
        Language::Rust => "cargo test",
        Language::JavaScript => "npm test",
        Language::Python => "python3 -m unittest",
    };
    let mut output = Output::stdout();
    output.line(&format!("made the {role} {} in {language}; next:", args.name))?;
    output.line(&format!("  cd {}", folder.display()))?;
    output.line(&format!("  {test:<20}  its own tests"))?;
    output.line(&format!("  {:<20}  dist/{}.wasm", "ennio plugin build", args.name))?;
    output
        .line(&format!("  {:<20}  into the running host, at every change", "ennio plugin dev"))?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
