//! The filter stage: each filter, in its order, sees what those before it kept.

use crate::{
    event::Dropped,
    plugin::{PluginSet, Verdict},
};

use super::item::{Item, chosen, events, on_error};

pub(super) async fn filter(plugins: &PluginSet, items: &mut [Item]) {
    let stage = &plugins.filters;
    let subscribed = stage.subscribed(items.iter().map(|item| &item.subject));
    for (plugin, subscribed) in stage.plugins().iter().zip(subscribed) {
        let chosen = chosen(plugin, items, &subscribed);
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
