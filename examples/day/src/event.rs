//! What a line of the day is: eight fields, in this order, as compact JSON.
//!
//! `data` is a list of pairs and not a `serde_json::Value`: a map of that crate keeps or sorts its
//! keys depending on a feature that any other crate of the build may switch on, and the same seed
//! would then give two files.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock::Moment;

/// What happened. The custom kinds are what this fleet's own tools emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    SessionSpawned,
    SessionWorking,
    SessionExited,
    SessionKilled,
    SessionRestored,
    SessionCleaned,
    StatusChanged,
    ActivityChanged,
    PrCreated,
    PrUpdated,
    PrMerged,
    PrClosed,
    CiPassing,
    CiFailing,
    CiFixSent,
    CiFixFailed,
    ReviewPending,
    ReviewApproved,
    ReviewChangesRequested,
    ReviewCommentsSent,
    MergeReady,
    MergeConflicts,
    MergeCompleted,
    ReactionTriggered,
    ReactionEscalated,
    AllComplete,
    NodeConnected,
    NodeDisconnected,
    NodeLaunched,
    NodeHealthCheck,
    #[serde(rename = "custom.deploy_started")]
    DeployStarted,
    #[serde(rename = "custom.deploy_finished")]
    DeployFinished,
    #[serde(rename = "custom.cost_report")]
    CostReport,
    #[serde(rename = "custom.link_check")]
    LinkCheck,
}

impl Kind {
    /// The priority that senders of this fleet give by default.
    pub(crate) const fn usual_priority(self) -> Priority {
        match self {
            Self::SessionKilled
            | Self::CiFailing
            | Self::CiFixFailed
            | Self::ReviewPending
            | Self::ReviewChangesRequested
            | Self::ReviewCommentsSent
            | Self::MergeReady
            | Self::MergeConflicts => Priority::Action,
            Self::ReactionEscalated => Priority::Urgent,
            _ => Priority::Info,
        }
    }
}

/// Who should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    Info,
    Action,
    Urgent,
    Critical,
}

/// An event as its sender tells it: no id yet, and no date.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) at: Moment,
    pub(crate) kind: Kind,
    pub(crate) priority: Priority,
    pub(crate) session: String,
    pub(crate) project: &'static str,
    pub(crate) message: String,
    pub(crate) data: Data,
}

/// An event as the day file holds it.
#[derive(serde::Serialize)]
pub(crate) struct Event<'a> {
    pub(crate) id: String,
    pub(crate) event_type: Kind,
    pub(crate) priority: Priority,
    pub(crate) session_id: &'a str,
    pub(crate) project_id: &'a str,
    pub(crate) timestamp: String,
    pub(crate) message: &'a str,
    pub(crate) data: &'a Data,
}

/// The payload: an object whose keys stay in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data(pub(crate) Vec<(&'static str, Value)>);

impl Data {
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    pub(crate) fn text(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| match value {
            Value::Text(text) if *key == wanted => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn text_mut(&mut self, wanted: &str) -> Option<&mut String> {
        self.0.iter_mut().find_map(|(key, value)| match value {
            Value::Text(text) if *key == wanted => Some(text),
            _ => None,
        })
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// As much of JSON as the day needs.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(Data),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Data> for Value {
    fn from(value: Data) -> Self {
        Self::Object(value)
    }
}

impl<V: Into<Self>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}
