//! Which events: the flags that `tail`, `events`, `replay` and `export` share.

use std::str::FromStr;

use crate::event::{
    EventPriority, EventType, ProjectId, Reason, Selection, SessionId, SubjectPattern,
};

use super::client::Params;

/// What is given must all hold; of a flag given several times, one value must.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct Filters {
    /// Of this type, like ci_failing or custom.deploy; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = parse::<EventType>)]
    types: Vec<EventType>,
    /// Of this project
    #[arg(long, value_name = "PROJECT", value_parser = parse::<ProjectId>)]
    project: Option<ProjectId>,
    /// About this session
    #[arg(long, value_name = "SESSION", value_parser = parse::<SessionId>)]
    session: Option<SessionId>,
    /// Of this priority or above: info, action, urgent, critical
    #[arg(long, value_name = "PRIORITY", value_parser = parse::<EventPriority>)]
    min_priority: Option<EventPriority>,
    /// Also events that a filter plugin dropped
    #[arg(long)]
    include_dropped: bool,
}

impl Filters {
    /// As the host reads them.
    pub(super) fn params<'a>(
        &self,
        subjects: impl IntoIterator<Item = &'a SubjectPattern>,
    ) -> Params {
        let mut params = Params::new();
        params.extend(self.types.iter().map(|value| ("type", value.to_string())));
        params.extend(self.project.iter().map(|value| ("project", value.to_string())));
        params.extend(self.session.iter().map(|value| ("session", value.to_string())));
        params.extend(subjects.into_iter().map(|value| ("subject", value.to_string())));
        params.extend(self.min_priority.iter().map(|value| ("min_priority", value.to_string())));
        if self.include_dropped {
            params.push(("include_dropped", "true".into()));
        }
        params
    }

    /// As the log itself takes them.
    pub(super) fn selection(&self, subjects: &[SubjectPattern]) -> Selection {
        Selection {
            types: self.types.clone(),
            patterns: subjects.to_vec(),
            project: self.project.clone(),
            session: self.session.clone(),
            min_priority: self.min_priority.unwrap_or_default(),
            since: None,
            until: None,
            include_dropped: self.include_dropped,
        }
    }

    /// Whether events that a filter hid are wanted too.
    pub(super) fn include_dropped(&self) -> bool {
        self.include_dropped
    }
}

/// A part of an event, for clap.
pub(super) fn parse<T: FromStr<Err = Reason>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|reason: Reason| reason.to_string())
}
