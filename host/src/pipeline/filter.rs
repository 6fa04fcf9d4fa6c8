//! The filter stage: each filter, in its order, sees what those before it kept.

use crate::{
    event::{Dropped, Event},
    plugin::{CallError, OnError, Plugin, PluginSet, Verdict},
};

use super::{messages::PublishError, sequencer::Item};

pub(super) async fn filter(plugins: &PluginSet, items: &mut [Item]) {
    for plugin in &plugins.filters {
        let chosen = chosen(plugin, items);
        if chosen.is_empty() {
            continue;
        }
        let verdicts = plugin.filter(&events(items, &chosen)).await;
        let mut dropped = 0;
        for (at, verdict) in chosen.into_iter().zip(verdicts) {
            let Some(item) = items.get_mut(at) else { continue };
            match verdict {
                Ok(Verdict::Keep) => {}
                Ok(Verdict::Drop(reason)) => {
                    item.dropped = Some(Dropped { by: plugin.name().clone(), reason });
                    dropped += 1;
                }
                Err(e) => on_error(plugin, item, &e),
            }
        }
        plugin.count_changed(dropped);
    }
}

/// Which items still run and are subscribed to.
pub(super) fn chosen(plugin: &Plugin, items: &[Item]) -> Vec<usize> {
    let chosen = items.iter().enumerate().filter(|(_, item)| {
        item.held.is_none() && item.dropped.is_none() && plugin.wants(&item.event, &item.subject)
    });
    chosen.map(|(at, _)| at).collect()
}

pub(super) fn events<'a>(items: &'a [Item], chosen: &[usize]) -> Vec<&'a Event> {
    chosen.iter().filter_map(|at| items.get(*at)).map(|item| &item.event).collect()
}

/// What the sidecar says about an event that the plugin failed on.
pub(super) fn on_error(plugin: &Plugin, item: &mut Item, error: &CallError) {
    tracing::warn!(plugin = plugin.name().as_str(), event = %item.event.id, "plugin {error}");
    match plugin.manifest().on_error {
        OnError::Pass => {}
        OnError::Drop => {
            let reason = format!("the plugin {error}, and its sidecar says on_error = \"drop\"");
            item.dropped = Some(Dropped { by: plugin.name().clone(), reason });
        }
        OnError::Hold => {
            item.held = Some(PublishError::Held {
                plugin: plugin.name().clone(),
                reason: error.to_string(),
            });
        }
    }
}
