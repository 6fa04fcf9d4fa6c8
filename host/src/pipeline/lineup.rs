//! What a trace has to know of plugins and their calls: which of them a batch meets, and which calls
//! are worth a row.

use std::sync::{Arc, Weak};

use crate::{
    event::PluginName,
    plugin::{Call, Plugin, PluginSet, Said},
    store::{Called, Line, Lineup, Member, PluginCall, Role},
};

/// The lineup of the last set that a batch met, so that it is not made anew for each batch.
#[derive(Default)]
pub(super) struct Lineups {
    // Weak, since a set keeps old versions alive.
    last: Option<(Weak<PluginSet>, Arc<Lineup>)>,
}

impl Lineups {
    pub(super) fn of(&mut self, set: &Arc<PluginSet>) -> Arc<Lineup> {
        if let Some((last, lineup)) = &self.last
            && std::ptr::eq(last.as_ptr(), Arc::as_ptr(set))
        {
            return Arc::clone(lineup);
        }
        let stage = |plugins: &[Arc<Plugin>], role| -> Vec<Member> {
            plugins.iter().map(|plugin| member(plugin, role)).collect()
        };
        let mut members = stage(set.filters.plugins(), Role::Filter);
        members.extend(stage(set.enrichers.plugins(), Role::Enricher));
        let lineup = Arc::new(Lineup::new(&members));
        self.last = Some((Arc::downgrade(set), Arc::clone(&lineup)));
        lineup
    }
}

/// A plugin in one of its roles.
pub(crate) fn member(plugin: &Plugin, role: Role) -> Member {
    Member {
        plugin: plugin.name().clone(),
        role,
        version: plugin.version().to_owned(),
        hash: Arc::clone(plugin.hash()),
        order: plugin.manifest().order,
        subscribe: plugin.subscribe().to_vec(),
        min_priority: plugin.min_priority(),
    }
}

/// What a call came to.
pub(crate) fn called(call: Call) -> Called {
    let line = |Said { level, context, message }| Line { level: level.into(), context, message };
    Called {
        version: call.version,
        took: call.took,
        said: call.words.lines.into_iter().map(line).collect(),
        unsaid: call.words.further,
    }
}

/// A call about items of a batch, worth a row.
pub(super) struct ItemCall {
    plugin: PluginName,
    role: Role,
    /// The items' places in the batch.
    items: Vec<usize>,
    count: usize,
    called: Called,
    error: Option<String>,
}

impl ItemCall {
    /// Of calls about the items at the places `chosen`, those that are worth a row.
    pub(super) fn notable<'a>(
        plugin: &'a Plugin,
        role: Role,
        chosen: &'a [usize],
        calls: Vec<Call>,
    ) -> impl Iterator<Item = Self> + 'a {
        calls.into_iter().filter_map(move |mut call| {
            let (count, events) = (call.count, call.events.clone());
            let error = call.left.take().map(|error| error.to_string());
            let called = called(call);
            (error.is_some() || called.is_notable()).then(|| {
                let items = chosen.get(events).unwrap_or_default().to_vec();
                Self { plugin: plugin.name().clone(), role, items, count, called, error }
            })
        })
    }

    /// Where it begins among the entries of a batch, given each item's place among them; `None` when
    /// none of its events became one.
    pub(super) fn place(
        self,
        entry: impl Fn(usize) -> Option<usize>,
    ) -> Option<(usize, PluginCall)> {
        let Self { plugin, role, items, count: events, called, error } = self;
        let mut entries = items.into_iter().filter_map(entry);
        let first = entries.next()?;
        let span = (entries.next_back().unwrap_or(first) - first) as u64;
        Some((first, PluginCall { plugin, role, span, events, called, error }))
    }
}
