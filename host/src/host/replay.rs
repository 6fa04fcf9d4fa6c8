//! What an operator does with history: has a reaction come back to events that it has passed.

use serde::Serialize;
use tracing::info;

use super::operator::Operator;
use crate::{
    control::ControlError,
    event::{PluginName, Selection, Seq},
    reaction,
    store::Effect,
};

/// Events that wait for a plugin at most when it is handed history: a tenth of what may wait at all, so
/// there is always room for what fails of the news.
const ROOM: u64 = 1000;

/// What became of events that a reaction is to come back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Replayed {
    /// The first so many of them were looked at; for the others there is no room yet.
    pub handled: u64,
    /// So many of those wait for the plugin now. The rest it does not subscribe to, a filter hid, or
    /// it comes to by itself.
    pub taken: u64,
}

impl Operator {
    pub(super) async fn replay(
        &self,
        name: &PluginName,
        events: &[Seq],
    ) -> Result<Replayed, ControlError> {
        self.known(name)?;
        let plugins = self.plugins.snapshot();
        let plugin = plugins.reactions.iter().find(|plugin| plugin.name() == name);
        let plugin = plugin.ok_or_else(|| {
            let kind = "disabled, not loaded, or a plugin of another kind";
            ControlError::Conflict(format!("{name} is no reaction that runs ({kind})"))
        })?;
        let wanted = Selection {
            patterns: plugin.subscribe().to_vec(),
            min_priority: plugin.min_priority(),
            ..Selection::default()
        };
        // Whoever else puts events among those that wait, waits.
        let _turn = self.letters.lock().await;
        let reader = self.store.reader();
        let backlogs = reader.backlogs().await?;
        let waiting = backlogs.get(name.as_str()).map_or(0, |backlog| backlog.waiting);
        let cursor = reader.cursor(&reaction::cursor_of(name)).await?.unwrap_or(0);
        let mut done = Replayed::default();
        let mut effects = Vec::new();
        for seq in events {
            if waiting + done.taken >= ROOM {
                break;
            }
            done.handled += 1;
            let entry = if *seq <= cursor { reader.at(*seq).await? } else { None };
            if entry.is_some_and(|entry| wanted.matches(&entry)) {
                effects.push(Effect::ReactAgain { plugin: name.clone(), event_seq: *seq });
                done.taken += 1;
            }
        }
        if !effects.is_empty() {
            self.store.apply(effects).await?;
            self.progress.knock();
            info!("replay: {} events wait for {name} again", done.taken);
        }
        Ok(done)
    }
}
