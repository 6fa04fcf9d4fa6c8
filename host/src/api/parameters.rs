//! Query parameters of `/v1/events` and `/v1/events/stream`, strict: an unknown one is an error, as
//! is one whose value does not parse.

use std::{fmt::Display, str::FromStr};

use axum::extract::RawQuery;

use crate::{
    event::{Selection, Seq},
    store::{Order, Query},
};

use super::problem::Problem;

/// The page size when none is asked for, in events.
const DEFAULT_LIMIT: usize = 100;

/// A parsed query string.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) query: Query,
    pub(super) limit: usize,
}

const NAMES: [&str; 12] = [
    "type",
    "project",
    "session",
    "subject",
    "min_priority",
    "since",
    "until",
    "after_seq",
    "before_seq",
    "order",
    "limit",
    "include_dropped",
];

/// What `/v1/events/stream` takes of them: a stream has no end and one direction.
const STREAM_NAMES: [&str; 9] = [
    "type",
    "project",
    "session",
    "subject",
    "min_priority",
    "since",
    "until",
    "after_seq",
    "include_dropped",
];

impl Parameters {
    pub(super) fn of_query(query: RawQuery) -> Result<Self, Problem> {
        Self::parse(query, &NAMES)
    }

    pub(super) fn of_stream(query: RawQuery) -> Result<Self, Problem> {
        Self::parse(query, &STREAM_NAMES)
    }

    fn parse(RawQuery(query): RawQuery, names: &[&'static str]) -> Result<Self, Problem> {
        let mut all = Self { limit: DEFAULT_LIMIT, ..Self::default() };
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query)
            .map_err(|e| Problem::parameter("query", format!("not readable: {e}")))?;
        let mut seen = Vec::new();
        for (name, value) in pairs {
            if !names.contains(&name.as_str()) {
                return Err(unknown(&name, names));
            }
            // Types and subjects are lists: any of them.
            if !matches!(name.as_str(), "type" | "subject") && seen.contains(&name) {
                return Err(Problem::parameter(&name, "given twice"));
            }
            all.set(&name, &value)?;
            seen.push(name);
        }
        Ok(all)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let Self { query: Query { selection, after_seq, before_seq, order }, limit } = self;
        let Selection {
            types,
            patterns,
            project,
            session,
            min_priority,
            since,
            until,
            include_dropped,
        } = selection;
        match name {
            "type" => types.push(parsed(name, value)?),
            "subject" => patterns.push(parsed(name, value)?),
            "project" => *project = Some(parsed(name, value)?),
            "session" => *session = Some(parsed(name, value)?),
            "min_priority" => *min_priority = parsed(name, value)?,
            "since" => *since = Some(parsed(name, value)?),
            "until" => *until = Some(parsed(name, value)?),
            "after_seq" => *after_seq = Some(seq(name, value)?),
            "before_seq" => *before_seq = Some(seq(name, value)?),
            "order" => {
                *order = match value {
                    "asc" => Order::Ascending,
                    "desc" => Order::Descending,
                    _ => return Err(Problem::parameter(name, "must be asc or desc")),
                }
            }
            "limit" => {
                let most = crate::store::MAX_PAGE;
                *limit =
                    value.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| {
                        Problem::parameter(name, format!("must be a number from 1 to {most}"))
                    })?;
            }
            "include_dropped" => {
                *include_dropped = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(Problem::parameter(name, "must be true or false")),
                }
            }
            _ => return Err(unknown(name, &NAMES)),
        }
        Ok(())
    }
}

pub(super) fn parsed<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|e| Problem::parameter(name, e))
}

/// A place in the log, as parameters and `Last-Event-ID` have it.
pub(super) fn seq(name: &str, value: &str) -> Result<Seq, Problem> {
    value.parse().ok().filter(|seq| *seq <= i64::MAX as u64).ok_or_else(|| {
        Problem::parameter(name, format!("must be a place in the log, 0 or more, not {value:?}"))
    })
}

pub(super) fn unknown(name: &str, names: &[&'static str]) -> Problem {
    let nearest = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, known)) => {
            Problem::parameter(name, format!("no such parameter (did you mean `{known}`?)"))
        }
        None => {
            Problem::parameter(name, format!("no such parameter (there are {})", names.join(", ")))
        }
    }
}
