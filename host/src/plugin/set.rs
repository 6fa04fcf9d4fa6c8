//! What runs, at one moment: the plugins of each stage, and which events each of them wants.

use std::sync::Arc;

use super::{interest::Interest, plugin::Plugin};
use crate::{event::Subject, store::state::Pending};

/// What runs, at one moment.
#[derive(Default)]
pub struct PluginSet {
    /// By (order, name).
    pub filters: Stage,
    /// By (order, name).
    pub enrichers: Stage,
    /// By name.
    pub reactions: Vec<Arc<Plugin>>,
}

impl PluginSet {
    /// Of these plugins, each where its roles put it.
    pub fn new(plugins: impl Iterator<Item = Arc<Plugin>>) -> Self {
        let mut all: Vec<Arc<Plugin>> = plugins.collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        let reactions = all.iter().filter(|plugin| plugin.roles().reaction).cloned().collect();
        all.sort_by_key(|plugin| plugin.manifest().order);
        let stage = |has: fn(&Plugin) -> bool| {
            Stage::new(all.iter().filter(|plugin| has(plugin)).cloned().collect())
        };
        Self {
            filters: stage(|plugin| plugin.roles().filter),
            enrichers: stage(|plugin| plugin.roles().enricher),
            reactions,
        }
    }

    /// What filters and enrichers wrote since the last taking, for the commit of the batch.
    pub fn take_written(&self) -> Vec<Pending> {
        self.pipeline().filter_map(|plugin| plugin.pipeline_state().take()).collect()
    }

    /// Whether filters or enrichers have written anything since the last taking.
    pub fn has_written(&self) -> bool {
        self.pipeline().any(|plugin| plugin.pipeline_state().waiting() > 0)
    }

    /// Undoes what filters and enrichers wrote since the last taking.
    pub fn give_up_written(&self) {
        self.pipeline().for_each(|plugin| plugin.pipeline_state().give_up());
    }

    fn pipeline(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.filters.plugins.iter().chain(&self.enrichers.plugins)
    }
}

/// The plugins of one stage, in the order in which they are called.
#[derive(Default)]
pub struct Stage {
    plugins: Vec<Arc<Plugin>>,
    interest: Interest,
}

impl Stage {
    fn new(plugins: Vec<Arc<Plugin>>) -> Self {
        let mut interest = Interest::default();
        for (number, plugin) in plugins.iter().enumerate() {
            plugin.subscribe().iter().for_each(|pattern| interest.add(number, pattern));
        }
        Self { plugins, interest }
    }

    /// In the order in which they are called.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// For each plugin, in the same order, which of `subjects` it subscribes to, ascending.
    pub fn subscribed<'a>(&self, subjects: impl Iterator<Item = &'a Subject>) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.plugins.len()];
        if self.plugins.is_empty() {
            return all;
        }
        for (at, subject) in subjects.enumerate() {
            self.interest.find(subject, |plugin| {
                // Several of its patterns may match.
                if let Some(mine) = all.get_mut(plugin)
                    && mine.last() != Some(&at)
                {
                    mine.push(at);
                }
            });
        }
        all
    }
}
