//! `ennio config check`: says whether a configuration file would be taken.

use std::path::PathBuf;

use crate::config::Config;

/// Arguments of `ennio config check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The file to check
    #[arg(env = "ENNIO_CONFIG", default_value = "ennio.toml")]
    file: PathBuf,
}

/// Checks the file, and prints what it says.
///
/// # Errors
/// When the file cannot be read or is wrong; the text names the line and the way out.
pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.file)?;
    println!("{}: good", args.file.display());
    println!("  database  {}", config.store.database.display());
    println!("  listen    {}", config.api.listen);
    let shown =
        |path: Option<&PathBuf>| path.map_or("(none)".into(), |path| path.display().to_string());
    println!("  plugins   {}", shown(config.plugins.folder.as_ref()));
    println!(
        "  nats      {}",
        config.nats.url.as_ref().map_or("(none)".into(), ToString::to_string)
    );
    Ok(())
}
