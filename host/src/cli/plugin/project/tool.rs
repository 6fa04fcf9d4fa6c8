//! Runs a language's own tools. What they say goes to standard error as they say it: a compiler's
//! messages are the best there are, and standard output is for our own result.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    process::{ExitStatus, Output, Stdio},
};

use tokio::process::Command;

use super::ProjectError;

/// One run of a tool, in the project's folder.
pub(super) struct Tool {
    command: Command,
    /// As a person would write it.
    line: String,
    program: &'static str,
    language: &'static str,
    install: fn() -> String,
}

impl Tool {
    /// `program` of `PATH`; `install` says how to get it, for when it is not there.
    pub(super) fn new(
        program: &'static str,
        language: &'static str,
        install: fn() -> String,
        folder: &Path,
    ) -> Self {
        Self::at(Path::new(program), program, language, install, folder)
    }

    /// The program in the file `path`, which people know as `program`.
    pub(super) fn at(
        path: &Path,
        program: &'static str,
        language: &'static str,
        install: fn() -> String,
        folder: &Path,
    ) -> Self {
        let mut command = Command::new(path);
        // A build that nobody waits for any more ends, as with Ctrl-C.
        command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        Self { command, line: program.to_owned(), program, language, install }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    pub(super) fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(super) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The command, as a person would write it.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Runs it to its end, which has to be a good one.
    pub(super) async fn run(self) -> Result<(), ProjectError> {
        let (line, status) = self.status().await?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(line, status)),
        }
    }

    /// Runs it to its end, whatever that is.
    pub(super) async fn status(mut self) -> Result<(String, ExitStatus), ProjectError> {
        let status = self.command.stdout(io::stderr()).status().await;
        Ok((self.line.clone(), status.map_err(|e| self.not_started(e))?))
    }

    /// Runs it to a good end, and returns what it wrote to standard output.
    pub(super) async fn output(mut self) -> Result<Vec<u8>, ProjectError> {
        let output = self.command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let output = match output {
            Ok(child) => child.wait_with_output().await,
            Err(e) => Err(e),
        };
        let Output { status, stdout, .. } = output.map_err(|e| self.not_started(e))?;
        match status.success() {
            true => Ok(stdout),
            false => Err(failed(self.line, status)),
        }
    }

    fn not_started(&self, error: io::Error) -> ProjectError {
        match error.kind() {
            io::ErrorKind::NotFound => ProjectError::MissingTool {
                program: self.program,
                language: self.language,
                install: (self.install)(),
            },
            _ => ProjectError::Failed { command: self.line.clone(), status: error.to_string() },
        }
    }
}

pub(super) fn failed(command: String, status: ExitStatus) -> ProjectError {
    ProjectError::Failed { command, status: status.to_string() }
}

/// Whether Debian's packages are how one installs things here.
pub(super) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}
