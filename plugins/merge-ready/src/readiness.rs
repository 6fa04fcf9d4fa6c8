use serde::{Deserialize, Serialize};

/// What an event does to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Approved,
    ApprovalLost,
    Passing,
    PassLost,
    BothLost,
    /// Merged or closed.
    Ended,
}

/// The two events, by id, that together made a pull request ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) approved_by: String,
    pub(crate) passed_by: String,
}

/// How far a pull request is: the events, by id, that approved and passed it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Readiness {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed_by: Option<String>,
    /// The event by which it became ready, until a half is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready_since: Option<String>,
}

impl Readiness {
    /// Takes note of a change by an event. Returns the pair when the pull request became ready by
    /// this very event: also when the event comes again, so that whoever sets the plugin back by
    /// hand gets the same emission, which the log knows by its id, and not none.
    pub(crate) fn change(&mut self, change: Change, event_id: &str) -> Option<Pair> {
        if matches!(change, Change::ApprovalLost | Change::BothLost | Change::Ended) {
            self.approved_by = None;
            self.ready_since = None;
        }
        if matches!(change, Change::PassLost | Change::BothLost | Change::Ended) {
            self.passed_by = None;
            self.ready_since = None;
        }
        if self.ready_since.is_none() {
            match change {
                Change::Approved => self.approved_by = Some(event_id.into()),
                Change::Passing => self.passed_by = Some(event_id.into()),
                Change::ApprovalLost | Change::PassLost | Change::BothLost | Change::Ended => {}
            }
        }
        let (Some(approved_by), Some(passed_by)) = (&self.approved_by, &self.passed_by) else {
            return None;
        };
        let since = self.ready_since.get_or_insert_with(|| event_id.into());
        (since == event_id)
            .then(|| Pair { approved_by: approved_by.clone(), passed_by: passed_by.clone() })
    }

    /// Whether it is as if nothing had ever happened.
    pub(crate) fn is_unknown(&self) -> bool {
        self.approved_by.is_none() && self.passed_by.is_none()
    }
}
