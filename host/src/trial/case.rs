//! One event of history on its way through a candidate: what each role is given, what it makes of
//! it, and where that parts from what the log has of the plugin.

use super::{
    deviation::{Effects, Sides, Way},
    difference::changes,
    react::Reacted,
    restore::{as_sent, redo},
    story::Emitted,
};
use crate::{
    event::{Draft, Event, EventId, LogEntry, Seq},
    pipeline::Rehearsed,
    plugin::Plugin,
    store::{Answer, Changed, Past},
};

/// One event.
pub(super) struct Case {
    pub(super) entry: LogEntry,
    /// Another plugin hid it, so the candidate's turn did not come.
    pub(super) is_hidden: bool,
    /// Why the plugin of history dropped it, if it did.
    own_drop: Option<String>,
    /// Something of it was overwritten for good: the candidate gets it as it is stored.
    pub(super) as_stored: bool,
    /// As a filter gets it; nothing for other plugins.
    sent: Option<Event>,
    /// What stood in the event when the enricher's turn came, and behind it; nothing for other plugins.
    turn: Option<Turn>,
    /// Whether the candidate was called with it.
    pub(super) seen: bool,
    dropped: Option<String>,
    is_held: bool,
    failures: Vec<String>,
    enriched: Option<Event>,
    reacted: Reacted,
}

struct Turn {
    before: Event,
    behind: Event,
    /// The plugin of history has changed it.
    is_recorded: bool,
}

/// What the candidate would have decided otherwise.
pub(super) struct Verdict {
    pub(super) ways: Vec<Way>,
    pub(super) history: Effects,
    pub(super) candidate: Effects,
    /// What is emitted by one side only, or otherwise: its id, its place in the log, what the
    /// candidate emits.
    pub(super) answers: Vec<(EventId, Option<Seq>, Option<Emitted>)>,
}

impl Case {
    /// `is_first`: the candidate's turn is taken to be the first one of its stage.
    pub(super) fn new(past: Past, candidate: &Plugin, is_first: bool) -> Self {
        let Past { entry, digest, changes } = past;
        let (name, roles) = (candidate.name(), candidate.roles());
        let own_drop = entry.dropped.as_ref().filter(|dropped| dropped.by == *name);
        let own_drop = own_drop.map(|dropped| dropped.reason.clone());
        let by_other = entry.dropped.is_some() && own_drop.is_none();
        let mut case = Self {
            entry,
            is_hidden: by_other && !is_first,
            own_drop,
            as_stored: false,
            sent: None,
            turn: None,
            seen: false,
            dropped: None,
            is_held: false,
            failures: Vec::new(),
            enriched: None,
            reacted: Reacted::default(),
        };
        if case.is_hidden {
            return case;
        }
        let stored = &case.entry.event;
        let own = changes.iter().position(|change| change.plugin == *name);
        let has_turn = roles.enricher || own.is_some();
        let asks = roles.filter || own.is_some() || (has_turn && is_first);
        let mut sent = None;
        if asks && !changes.is_empty() {
            sent = as_sent(stored, &changes, digest);
            case.as_stored = sent.is_none();
        }
        if has_turn && !by_other {
            let found = sent.as_ref().and_then(|sent| turn(sent, &changes, own, is_first));
            let as_it_is = || Turn {
                before: stored.clone(),
                behind: stored.clone(),
                is_recorded: own.is_some(),
            };
            case.turn = Some(found.unwrap_or_else(as_it_is));
        }
        if roles.filter {
            case.sent = Some(sent.unwrap_or_else(|| stored.clone()));
        }
        case
    }

    /// Leaves filter and enricher out: what the candidate remembers knows of this event already.
    pub(super) fn skip_pipeline(&mut self) {
        self.is_hidden |= self.own_drop.take().is_some();
        (self.sent, self.turn, self.as_stored) = (None, None, false);
    }

    /// What the filter is to be called with.
    pub(super) fn for_filter(&mut self, candidate: &Plugin) -> Option<Draft> {
        let sent = self.sent.take()?;
        self.call(candidate, sent)
    }

    /// What the enricher is to be called with.
    pub(super) fn for_enricher(&mut self, candidate: &Plugin) -> Option<Draft> {
        if !candidate.roles().enricher || self.dropped.is_some() || self.is_held {
            return None;
        }
        let before = self.turn.as_ref()?.before.clone();
        self.call(candidate, before)
    }

    /// What the reaction is to be called with: the event as the log has it, or as it would be there
    /// where only the candidate keeps it.
    pub(super) fn for_reaction(&mut self, candidate: &Plugin) -> Option<LogEntry> {
        if self.is_hidden || self.dropped.is_some() || self.is_held {
            return None;
        }
        let LogEntry { seq, event, caused_by, hops, dropped, committed_at, .. } = &self.entry;
        let kept = match (&self.enriched, dropped) {
            (Some(enriched), Some(_)) => enriched,
            _ => event,
        };
        let subject = kept.subject();
        if !candidate.wants(kept, &subject) {
            return None;
        }
        let (kept, caused_by) = (kept.clone(), caused_by.clone());
        self.seen = true;
        Some(LogEntry::new(*seq, kept, subject, caused_by, *hops, None, *committed_at))
    }

    fn call(&mut self, candidate: &Plugin, event: Event) -> Option<Draft> {
        let wants = candidate.wants(&event, &event.subject());
        self.seen |= wants;
        wants.then(|| event.into())
    }

    /// What the filter made of it.
    pub(super) fn filtered(&mut self, rehearsed: Rehearsed) {
        let Rehearsed { dropped, held, failures, .. } = rehearsed;
        self.dropped = dropped.map(|dropped| dropped.reason);
        self.is_held = held.is_some();
        self.failures.extend(failures);
    }

    /// What the enricher made of it, which it was only called with when the filter kept it.
    pub(super) fn enriched(&mut self, rehearsed: Rehearsed) {
        let Rehearsed { event, dropped, held, failures, .. } = rehearsed;
        self.dropped = dropped.map(|dropped| dropped.reason);
        self.is_held = held.is_some();
        self.failures.extend(failures);
        self.enriched = Some(event);
    }

    /// What the reaction made of it.
    pub(super) fn reacted(&mut self, mut reacted: Reacted) {
        // Of wishes of which a host would refuse one, it would carry out none.
        if !reacted.failures.is_empty() {
            reacted.emits.clear();
            reacted.commands.clear();
        }
        self.failures.append(&mut reacted.failures);
        self.reacted = reacted;
    }

    /// Commands that the candidate gives.
    pub(super) fn commands(&self) -> u64 {
        self.reacted.commands.len() as u64
    }

    /// Compares. `answers` is what history emitted in reaction to it; `None` when that is not known
    /// or not asked for.
    pub(super) fn judge(&mut self, answers: Option<Vec<Answer>>) -> Verdict {
        let history_keeps = self.entry.dropped.is_none();
        let changed = |turn: &Turn| self.behind(turn) != &turn.before;
        let mut verdict = Verdict {
            ways: Vec::new(),
            history: Effects {
                dropped: self.own_drop.is_some().into(),
                patched: self.turn.as_ref().is_some_and(|turn| turn.is_recorded).into(),
                answered: answers.as_ref().is_some_and(|answers| !answers.is_empty()).into(),
                failed: 0,
            },
            candidate: Effects {
                dropped: self.dropped.is_some().into(),
                patched: self.turn.as_ref().is_some_and(changed).into(),
                answered: (!self.reacted.emits.is_empty()).into(),
                failed: (!self.failures.is_empty()).into(),
            },
            answers: Vec::new(),
        };
        let ways = &mut verdict.ways;
        match (&self.own_drop, &self.dropped) {
            _ if self.is_held => ways.push(Way::Holds),
            (None, Some(_)) if history_keeps => ways.push(Way::Drops),
            (Some(_), None) => ways.push(Way::Keeps),
            (Some(reason), Some(other)) if reason != other => ways.push(Way::Reason),
            (None, None) if history_keeps => {
                if !self.changes().is_empty() {
                    ways.push(Way::Patches);
                }
                if let Some(answers) = answers {
                    verdict.answers = parting(answers, std::mem::take(&mut self.reacted.emits));
                    if !verdict.answers.is_empty() {
                        ways.push(Way::Answers);
                    }
                }
            }
            _ => {}
        }
        if !self.failures.is_empty() && !self.is_held {
            ways.push(Way::Fails);
        }
        verdict
    }

    /// Why it is hidden, where the two sides do not agree.
    pub(super) fn dropped(&self) -> Sides<String> {
        match self.own_drop == self.dropped {
            true => Sides { history: None, candidate: None },
            false => Sides { history: self.own_drop.clone(), candidate: self.dropped.clone() },
        }
    }

    /// The event behind the plugin: from history's to the candidate's.
    pub(super) fn changes(&self) -> Vec<super::Difference> {
        match &self.turn {
            Some(turn) if self.behind(turn) != &turn.behind => {
                changes(&turn.behind, self.behind(turn))
            }
            _ => Vec::new(),
        }
    }

    /// How the candidate failed on it.
    pub(super) fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// The event behind the candidate.
    fn behind<'a>(&'a self, turn: &'a Turn) -> &'a Event {
        self.enriched.as_ref().unwrap_or(&turn.before)
    }
}

/// The event when the plugin's turn came, and behind it; `None` when nothing tells when that was.
fn turn(sent: &Event, changes: &[Changed], own: Option<usize>, is_first: bool) -> Option<Turn> {
    let before_it = match own {
        _ if is_first => 0,
        own => own?,
    };
    let mut before = sent.clone();
    changes.iter().take(before_it).try_for_each(|change| redo(&mut before, change))?;
    let mut behind = before.clone();
    if let Some(change) = own.and_then(|own| changes.get(own)) {
        redo(&mut behind, change)?;
    }
    Some(Turn { before, behind, is_recorded: own.is_some() })
}

/// What only one side emits, or each with another content.
fn parting(
    history: Vec<Answer>,
    candidate: Vec<Emitted>,
) -> Vec<(EventId, Option<Seq>, Option<Emitted>)> {
    let mut parting = Vec::new();
    let mut left = candidate;
    for answer in history {
        let same = left.iter().position(|emitted| emitted.id == answer.id);
        let emitted = same.map(|at| left.remove(at));
        if emitted.as_ref().is_none_or(|emitted| emitted.digest() != answer.digest) {
            parting.push((answer.id, Some(answer.seq), emitted));
        }
    }
    parting.extend(left.into_iter().map(|emitted| (emitted.id, None, Some(emitted))));
    parting
}
