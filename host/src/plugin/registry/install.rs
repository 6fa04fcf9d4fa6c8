//! Plugins that are put into the folder by the host itself, whole and at once: no look at the folder
//! falls between two of their files, so no version ever runs with the sidecar of another.

use std::{io, path::Path, sync::Arc};

use thiserror::Error;
use tracing::{info, warn};

use super::{Registry, RegistryError};
use crate::{
    event::PluginName,
    plugin::{
        bundle::{Beside, Bundle},
        mirrored::Mirrored,
    },
};

/// Why the files of a plugin were not put into the folder, or not taken out of it.
#[derive(Debug, Error)]
#[error("plugin folder {folder}: {reason}")]
pub struct InstallError {
    folder: String,
    reason: String,
}

impl Registry {
    /// Gives `source` the say over the plugins that it has: what their files are is kept in the folder
    /// under this name, one path component, and put back whenever it is found otherwise.
    ///
    /// # Errors
    /// [`RegistryError::Mirror`] when that cannot be written.
    pub fn mirroring(mut self, source: &str) -> Result<Self, RegistryError> {
        if let Some(path) = &self.folder {
            let mirrored = Mirrored::open(path, source)
                .map_err(|source| RegistryError::Mirror { path: path.clone(), source })?;
            self.mirrored = Some(Arc::new(mirrored));
        }
        Ok(self)
    }

    /// Whether a plugin that was installed is this component, by its SHA-256, with this beside it.
    pub fn has_installed(&self, name: &PluginName, sha256: &str, beside: &Beside) -> bool {
        self.mirrored.as_ref().is_some_and(|mirrored| mirrored.has(name, sha256, beside))
    }

    /// Puts a plugin into the folder in the place of what lies there, and loads it as any other that
    /// changed there: what cannot run leaves what runs, and says why.
    ///
    /// # Errors
    /// [`InstallError`] when its files cannot be written.
    pub async fn install(&self, name: &PluginName, bundle: Bundle) -> Result<(), InstallError> {
        let _one_at_a_time = self.scanning.lock().await;
        let target = name.clone();
        self.files(move |mirrored| mirrored.install(&target, &bundle)).await?;
        // Why it was not loaded is told where all such reasons are.
        let _ = self.load_now(name, false).await;
        Ok(())
    }

    /// Takes a plugin out of the folder that was installed, and out of the flow. `false` when it was
    /// not.
    ///
    /// # Errors
    /// [`InstallError`] when its files cannot be removed.
    pub async fn uninstall(&self, name: &PluginName) -> Result<bool, InstallError> {
        let _one_at_a_time = self.scanning.lock().await;
        let target = name.clone();
        let removed = self.files(move |mirrored| mirrored.remove(&target)).await?;
        if removed && self.versions.unload(name) {
            info!("plugin {name} unloaded, it was taken away");
        }
        Ok(removed)
    }

    /// Puts back what somebody changed of what was installed. Whoever holds `scanning` may call it.
    pub(super) async fn restore(&self) {
        let Some(mirrored) = self.mirrored.clone() else { return };
        if let Err(e) = tokio::task::spawn_blocking(move || mirrored.restore()).await {
            warn!("the mirrored plugins could not be looked at: {e}");
        }
    }

    async fn files<T: Default + Send + 'static>(
        &self,
        change: impl FnOnce(&Mirrored) -> io::Result<T> + Send + 'static,
    ) -> Result<T, InstallError> {
        let Some(mirrored) = self.mirrored.clone() else { return Ok(T::default()) };
        let changed = tokio::task::spawn_blocking(move || change(&mirrored)).await;
        let reason = match changed {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        let folder = self.folder().unwrap_or(Path::new("")).display().to_string();
        Err(InstallError { folder, reason })
    }
}
