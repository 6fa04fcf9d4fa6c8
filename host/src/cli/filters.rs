//! Which events: the flags that `tail`, `events`, `stats`, `replay` and `export` share, and those of
//! the past.

use std::str::FromStr;

use crate::event::{
    DataCondition, EventPriority, EventType, ProjectId, Reason, Selection, Seq, SessionId,
    SubjectPattern, TextSearch, Timestamp,
};

use super::{client::Params, times::parse_when_now};

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
    /// With this value in their data, like branch=main, pr=7 or labels.0.name=bug (names joined by
    /// dots; `pr="7"` is a text only); may be given several times, all must hold
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse::<DataCondition>)]
    data: Vec<DataCondition>,
    /// With these words in their message, all of them, like 'connection reset' or 'connect*'
    #[arg(long, value_name = "WORDS", value_parser = parse::<TextSearch>)]
    text: Option<TextSearch>,
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
        params.extend(self.types.iter().map(|value| ("type".into(), value.to_string())));
        params.extend(self.project.iter().map(|value| ("project".into(), value.to_string())));
        params.extend(self.session.iter().map(|value| ("session".into(), value.to_string())));
        params.extend(subjects.into_iter().map(|value| ("subject".into(), value.to_string())));
        let priority = self.min_priority.iter();
        params.extend(priority.map(|value| ("min_priority".into(), value.to_string())));
        let data = self.data.iter();
        params
            .extend(data.map(|wanted| (format!("data.{}", wanted.path()).into(), wanted.value())));
        params.extend(self.text.iter().map(|value| ("text".into(), value.to_string())));
        if self.include_dropped {
            params.push(("include_dropped".into(), "true".into()));
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
            data: self.data.clone(),
            text: self.text.clone(),
            include_dropped: self.include_dropped,
            ..Selection::default()
        }
    }

    /// Whether events that a filter hid are wanted too.
    pub(super) fn include_dropped(&self) -> bool {
        self.include_dropped
    }
}

/// Which part of the past.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Past {
    /// Published where this pattern says, like ennio.ci.*.failing; may be given several times
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<SubjectPattern>,
    /// Happened at this time (RFC 3339) or later, or within this span (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse_when_now)]
    since: Option<Timestamp>,
    /// Happened before this time (RFC 3339), or longer ago than this span (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse_when_now)]
    until: Option<Timestamp>,
    /// Behind this place in the log
    #[arg(long, value_name = "SEQ")]
    pub(super) after: Option<Seq>,
    /// Before this place in the log
    #[arg(long, value_name = "SEQ")]
    pub(super) before: Option<Seq>,
}

impl Past {
    /// As the host reads them, but for the places in the log.
    pub(super) fn params(&self, filters: &Filters) -> Params {
        let mut params = filters.params(&self.subject);
        params.extend(self.since.map(|time| ("since".into(), time.to_string())));
        params.extend(self.until.map(|time| ("until".into(), time.to_string())));
        params
    }
}

/// A part of an event, for clap.
pub(super) fn parse<T: FromStr<Err = Reason>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|reason: Reason| reason.to_string())
}
