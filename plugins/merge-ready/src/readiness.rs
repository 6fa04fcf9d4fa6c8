/// What an event does to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Approved,
    ApprovalLost,
    Passing,
    PassLost,
    BothLost,
}

/// The two events, by id, that together made a pull request ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) approved_by: &'a str,
    pub(crate) passed_by: &'a str,
}

/// How far a pull request is: the events, by id, that approved and passed it.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    approved_by: Option<String>,
    passed_by: Option<String>,
    /// The event by which it became ready, until a half is lost.
    ready_since: Option<String>,
}

impl Readiness {
    /// Takes note of a change by an event. Returns the pair when the pull request became ready by
    /// this very event: also when the event comes again, since the host delivers it again when it
    /// could not store what came of it the first time.
    pub(crate) fn change(&mut self, change: Change, event_id: &str) -> Option<Pair<'_>> {
        if matches!(change, Change::ApprovalLost | Change::BothLost) {
            self.approved_by = None;
            self.ready_since = None;
        }
        if matches!(change, Change::PassLost | Change::BothLost) {
            self.passed_by = None;
            self.ready_since = None;
        }
        if self.ready_since.is_none() {
            match change {
                Change::Approved => self.approved_by = Some(event_id.into()),
                Change::Passing => self.passed_by = Some(event_id.into()),
                Change::ApprovalLost | Change::PassLost | Change::BothLost => {}
            }
        }
        let (Some(approved_by), Some(passed_by)) = (&self.approved_by, &self.passed_by) else {
            return None;
        };
        let since = self.ready_since.get_or_insert_with(|| event_id.into());
        (since == event_id).then_some(Pair { approved_by, passed_by })
    }
}
