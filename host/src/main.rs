//! temp
use clap::Parser;
#[derive(Parser)]
enum Cli {
    Serve(ennio::cli::serve::Args),
}
#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let Cli::Serve(a) = Cli::parse();
    ennio::cli::serve::run(a).await
}
