//! A plugin's source: which language it is in, and that language's own tools to build and test it.
//!
//! `template` makes a project, `rust`, `javascript` and `python` know their tools, `tool` runs one,
//! `toolchain` finds a Rust that can make WebAssembly, `sources` tells when something changed.
//! Nothing here knows the host or what makes a plugin valid.

mod javascript;
mod python;
mod rust;
mod sources;
mod template;
mod tool;
mod toolchain;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use thiserror::Error;

use crate::event::PluginName;

pub(super) use sources::Sources;
pub(super) use template::{Role, create};

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// With the crate `ennio-plugin`; components of 0.1 MB, the fastest
    Rust,
    /// With componentize-js; components of 12 MB
    #[value(name = "javascript", alias = "js")]
    JavaScript,
    /// With componentize-py; components of 18 MB
    #[value(alias = "py")]
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The file that says that a folder is a project of this language, and names the plugin.
    fn manifest(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }
}

/// Why a folder is no plugin project, or its plugin cannot be built or tested.
#[derive(Debug, Error)]
pub(super) enum ProjectError {
    #[error(
        "{} is no plugin project: it has no Cargo.toml (Rust), no package.json (JavaScript) and no \
         pyproject.toml (Python) (`ennio plugin new` makes one)",
        folder.display()
    )]
    Nothing { folder: PathBuf },
    #[error("{}: there is no such folder", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} has both {one} and {other}, so its language is not clear (give each project a folder of \
         its own)",
        folder.display()
    )]
    Several { folder: PathBuf, one: &'static str, other: &'static str },
    #[error("{}: {reason}", file.display())]
    Manifest { file: PathBuf, reason: String },
    #[error("{program} is missing, which {language} plugins are built with ({install})")]
    MissingTool { program: &'static str, language: &'static str, install: String },
    #[error("nothing here can compile Rust to WebAssembly: {reason} ({install})")]
    Toolchain { reason: String, install: String },
    #[error("`{command}` failed with {status}; what it said is above")]
    Failed { command: String, status: String },
    #[error("`{command}` left no component: {reason}")]
    NoComponent { command: String, reason: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl ProjectError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A folder with the source of one plugin.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) name: PluginName,
    pub(super) language: Language,
}

/// What a build made.
#[derive(Debug)]
pub(super) struct Built {
    /// `dist/NAME.wasm` in the project.
    pub(super) component: PathBuf,
    /// `dist/NAME.toml` beside it, for a project with a sidecar.
    pub(super) sidecar: Option<PathBuf>,
}

impl Project {
    /// The project in `folder`, its language by what lies there.
    pub(super) fn open(folder: &Path) -> Result<Self, ProjectError> {
        // Tools are started in the folder, so its name must not depend on where we are.
        let folder = std::path::absolute(folder).map_err(ProjectError::file(folder))?;
        if !folder.is_dir() {
            return Err(ProjectError::NoFolder(folder));
        }
        let mut found =
            Language::ALL.into_iter().filter(|language| folder.join(language.manifest()).is_file());
        let language = match (found.next(), found.next()) {
            (Some(language), None) => language,
            (None, _) => return Err(ProjectError::Nothing { folder }),
            (Some(one), Some(other)) => {
                let (one, other) = (one.manifest(), other.manifest());
                return Err(ProjectError::Several { folder, one, other });
            }
        };
        let file = folder.join(language.manifest());
        let text = fs::read_to_string(&file).map_err(ProjectError::file(&file))?;
        let fault = |reason: String| ProjectError::Manifest { file: file.clone(), reason };
        let name = match language {
            Language::Rust => rust::name(&text),
            Language::JavaScript => javascript::name(&text),
            Language::Python => python::name(&text),
        };
        let name = name.map_err(fault)?;
        let name = name
            .parse()
            .map_err(|e| fault(format!("the name is the plugin's name, and {name:?} {e}")))?;
        Ok(Self { folder, name, language })
    }

    /// Makes the component, and puts it into `dist` with a copy of the sidecar.
    pub(super) async fn build(&self) -> Result<Built, ProjectError> {
        let dist = self.folder.join("dist");
        fs::create_dir_all(&dist).map_err(ProjectError::file(&dist))?;
        let component = dist.join(format!("{}.wasm", self.name));
        match self.language {
            Language::Rust => rust::build(&self.folder, &component).await?,
            Language::JavaScript => javascript::build(&self.folder, &component).await?,
            Language::Python => python::build(&self.folder, &component).await?,
        }
        let source = self.folder.join(format!("{}.toml", self.name));
        let copy = component.with_extension("toml");
        let sidecar = match fs::copy(&source, &copy) {
            Ok(_) => Some(copy),
            Err(e) if e.kind() == io::ErrorKind::NotFound => match fs::remove_file(&copy) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(ProjectError::file(&copy)(e));
                }
                _ => None,
            },
            Err(e) => return Err(ProjectError::file(&source)(e)),
        };
        Ok(Built { component, sidecar })
    }

    /// Runs the project's own tests, natively.
    pub(super) async fn test(&self) -> Result<(), ProjectError> {
        match self.language {
            Language::Rust => rust::test(&self.folder).await,
            Language::JavaScript => javascript::test(&self.folder).await,
            Language::Python => python::test(&self.folder).await,
        }
    }
}
