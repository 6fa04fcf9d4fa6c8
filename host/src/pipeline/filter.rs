//! The filter stage: each filter, in its order, sees what those before it kept.

use crate::{
    event::Dropped,
    plugin::{PluginSet, Verdict},
    store::{Did, Role},
};

use super::{
    item::{Item, chosen, events, on_error},
    lineup::ItemCall,
};

/// Adds the calls to `calls` that are worth a row.
pub(super) async fn filter(plugins: &PluginSet, items: &mut [Item], calls: &mut Vec<ItemCall>) {
    let stage = &plugins.filters;
    let subscribed = stage.subscribed(items.iter().map(|item| &item.subject));
    for (plugin, subscribed) in stage.plugins().iter().zip(subscribed) {
        let chosen = chosen(plugin, items, &subscribed);
        if chosen.is_empty() {
            continue;
        }
        let told = plugin.filter(&events(items, &chosen)).await;
        let mut dropped = 0;
        for (at, (call, verdict)) in chosen.iter().zip(told.answers) {
            let (Some(item), Some(call)) = (items.get_mut(*at), told.calls.get(call)) else {
                continue;
            };
            match verdict {
                Ok(Verdict::Keep) => {}
                Ok(Verdict::Drop(reason)) => {
                    item.step(plugin, Role::Filter, call, Did::Dropped);
                    item.dropped = Some(Dropped { by: plugin.name().clone(), reason });
                    dropped += 1;
                }
                Err(e) => on_error(plugin, Role::Filter, call, item, &e),
            }
        }
        plugin.count_changed(dropped);
        calls.extend(ItemCall::notable(plugin, Role::Filter, &chosen, told.calls));
    }
}
