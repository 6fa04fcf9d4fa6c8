//! How far the reactions have come, to be seen from outside. What counts after a restart is the
//! cursor in the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::event::{PluginName, Seq};

/// How far each reaction plugin has come, for whoever wants to see it.
#[derive(Debug, Clone, Default)]
pub struct Positions(Arc<Mutex<BTreeMap<String, Seq>>>);

impl Positions {
    pub(super) fn set(&self, plugin: &PluginName, seq: Seq) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match positions.get_mut(plugin.as_str()) {
            Some(position) => *position = seq,
            None => drop(positions.insert(plugin.to_string(), seq)),
        }
    }

    /// By plugin: everything up to and with this place is done.
    pub fn all(&self) -> BTreeMap<String, Seq> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
