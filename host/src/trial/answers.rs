//! What history has emitted under a plugin's name, by the event that it reacted to, and how far its
//! reaction has come: what lies beyond may be answered yet.

use std::collections::HashMap;

use crate::{
    event::{EventId, PluginName, Seq},
    reaction::cursor_of,
    store::{Answer, History, StoreError},
};

/// The answers that were found and not asked for yet.
#[derive(Default)]
pub(super) struct Answers {
    by_cause: HashMap<EventId, Vec<Answer>>,
    /// How far the log was searched.
    searched: Seq,
    /// How far the reaction has come; `None` when it never ran, so that there are none to come.
    reacted: Option<Seq>,
}

impl Answers {
    /// Finds those to events behind `after` that are in the log by now.
    pub(super) fn find(
        &mut self,
        history: &History,
        plugin: &PluginName,
        after: Seq,
    ) -> Result<(), StoreError> {
        // In this order: what a reaction has emitted is in the log when its place moves.
        self.reacted = history.cursor(&cursor_of(plugin))?;
        let head = history.head()?;
        self.searched = self.searched.max(after);
        while self.searched < head {
            let (found, end) = history.answers(plugin, self.searched, head)?;
            for answer in found {
                self.by_cause.entry(answer.to).or_default().push(answer);
            }
            self.searched = end;
        }
        Ok(())
    }

    /// Whether the event at this place has its answers, if it is to have any.
    pub(super) fn are_known(&self, seq: Seq) -> bool {
        self.reacted.is_none_or(|reacted| seq <= reacted)
    }

    /// Those to one event, once.
    pub(super) fn take(&mut self, to: EventId) -> Vec<Answer> {
        self.by_cause.remove(&to).unwrap_or_default()
    }
}
