//! What a worker does for its plugin's rule: counts before the plugin sees an event, and escalates what
//! nothing resolves. Both are questions to the log, asked when they matter; what they lead to commits with
//! the worker's next saving.

use std::time::Duration;

use tracing::warn;

use super::{
    rules,
    worker::{Leave, Worker},
};
use crate::{
    event::{LogEntry, Seq, Timestamp},
    plugin::{Plugin, Threshold},
    store::{Effect, Escalation, Reached, StoreError},
};

/// Escalations that are looked at together.
const DUE_AT_ONCE: usize = 32;

impl Worker {
    /// Has what the plugin did about an event escalated after this time.
    pub(super) fn wait_for_resolution(&mut self, event_seq: Seq, times: u32, wait: Duration) {
        let due = self.clock.now().later(wait);
        let plugin = self.name.clone();
        self.unsaved.push(Effect::Escalate(Escalation { plugin, event_seq, times, due }));
        self.due = Some(self.due.map_or(due, |first| first.min(due)));
    }

    /// Escalates what is due and not resolved. Whether it is, the log says now: so it does not matter
    /// where the plugin is in the log, or that nobody looked for a while.
    pub(super) async fn escalate(&mut self, plugin: &Plugin) -> Result<(), Leave> {
        // So that the rows say what is settled.
        self.save().await?;
        let reader = self.store.reader().clone();
        let due = reader.due_escalations(self.name.clone(), self.clock.now(), DUE_AT_ONCE).await;
        for (Escalation { event_seq, times, .. }, entry) in due.map_err(|e| self.unreadable(&e))? {
            let rule = plugin.manifest().reaction.escalation.as_ref();
            // A rule that is gone from the sidecar, and an event from the log, resolve it as well.
            let mut open = None;
            if let Some((rule, entry)) = rule.zip(entry) {
                let resolving = reader.page(rules::resolving(rule, &entry), 1).await;
                let is_resolved = !resolving.map_err(|e| self.unreadable(&e))?.entries.is_empty();
                open = (!is_resolved).then_some((rule, entry));
            }
            match open {
                Some((rule, entry)) => {
                    warn!(
                        plugin = self.name.as_str(), event = %entry.event.id,
                        "not resolved after {:?}: escalated", rule.after
                    );
                    match rule.repeat {
                        Some(repeat) => self.wait_for_resolution(event_seq, times + 1, repeat),
                        None => self.unsaved.push(self.resolved(event_seq)),
                    }
                    self.emit(&entry, vec![rules::escalated(plugin, &entry, times + 1)]).await?;
                }
                None => self.unsaved.push(self.resolved(event_seq)),
            }
        }
        self.save().await?;
        self.due = self.next_escalation().await?;
        Ok(())
    }

    fn resolved(&self, event_seq: Seq) -> Effect {
        Effect::Resolve { plugin: self.name.clone(), event_seq }
    }

    pub(super) async fn next_escalation(&self) -> Result<Option<Timestamp>, Leave> {
        let next = self.store.reader().next_escalation(self.name.clone()).await;
        next.map_err(|e| self.unreadable(&e))
    }

    /// Whether enough events have come for the plugin to see this one.
    pub(super) async fn reaches(&self, plugin: &Plugin, entry: &LogEntry) -> Result<bool, Leave> {
        let Some(threshold) = plugin.manifest().reaction.threshold else { return Ok(true) };
        let reader = self.store.reader();
        let key = rules::counted_with(&threshold, entry);
        let reached = reader.threshold_reached(self.name.clone(), key).await;
        let reached = reached.map_err(|e| self.unreadable(&e))?;
        let mut missing = threshold.count.get() as usize - 1;
        let mut query = rules::counted(plugin, &threshold, entry, reached);
        loop {
            let page = reader.page(query.clone(), missing).await;
            let page = page.map_err(|e| self.unreadable(&e))?;
            // Its own reports are not for the plugin's eyes, here either.
            let seen = |other: &&LogEntry| !rules::tells_of(other, &self.name);
            missing = missing.saturating_sub(page.entries.iter().filter(seen).count());
            match page.next {
                _ if missing == 0 => return Ok(true),
                Some(next) => query.before_seq = Some(next),
                None => return Ok(false),
            }
        }
    }

    fn unreadable(&self, e: &StoreError) -> Leave {
        warn!("reaction {}: cannot read the log: {e}", self.name);
        Leave::Lost
    }

    /// That counting begins anew behind `entry`.
    pub(super) fn reached(&self, threshold: &Threshold, entry: &LogEntry) -> Effect {
        Effect::Reach(Reached {
            plugin: self.name.clone(),
            key: rules::counted_with(threshold, entry),
            event_seq: entry.seq,
            at: entry.event.timestamp,
            forget_before: entry.event.timestamp.earlier(threshold.within.get()),
        })
    }
}
