//! How far the reactions have come, to be seen from outside, and a way to knock at them. What counts
//! after a restart is in the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::event::{PluginName, Seq};

/// How far each reaction plugin has come, for whoever wants to see it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    positions: Arc<Mutex<BTreeMap<String, Seq>>>,
    knocks: watch::Sender<()>,
}

impl Progress {
    pub(super) fn set(&self, plugin: &PluginName, seq: Seq) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        match positions.get_mut(plugin.as_str()) {
            Some(position) => *position = seq,
            None => drop(positions.insert(plugin.to_string(), seq)),
        }
    }

    /// By plugin: everything up to and with this place is done, or waits in the store.
    pub fn all(&self) -> BTreeMap<String, Seq> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that somebody else has put events among those that wait in the store.
    pub fn knock(&self) {
        self.knocks.send_replace(());
    }

    /// Hears of it.
    pub(super) fn knocks(&self) -> watch::Receiver<()> {
        self.knocks.subscribe()
    }
}
