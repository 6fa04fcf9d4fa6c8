//! Between the mirror, which knows objects, and the plugin folder, which knows plugins.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    event::PluginName,
    nats::{Replica, Version},
    plugin::{Beside, Bundle, Registry},
};

/// The plugin folder, in line with a bucket.
pub(super) struct Folder(pub(super) Arc<Registry>);

impl Replica for Folder {
    fn max_bytes(&self) -> u64 {
        Bundle::MAX_BYTES
    }

    fn wants(&self, Version { name, sha256, texts }: &Version) -> Result<bool, String> {
        let beside = Beside::from_texts(texts.clone())?;
        Ok(!self.0.has_installed(name, sha256, &beside))
    }

    fn install(&self, version: Version, content: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let bundle = Bundle::new(content, Beside::from_texts(version.texts)?);
            self.0.install(&version.name, bundle).await.map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn remove(&self, name: PluginName) -> BoxFuture<'_, Result<bool, String>> {
        async move { self.0.uninstall(&name).await.map_err(|e| e.to_string()) }.boxed()
    }
}
