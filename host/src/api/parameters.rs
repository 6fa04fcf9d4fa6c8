//! Query parameters of `/v1/events`, its stream and its counts, strict: an unknown one is an error, as
//! is one whose value does not parse.

use std::{fmt::Display, str::FromStr};

use axum::extract::RawQuery;

use crate::{
    event::{DataCondition, Selection, Seq},
    store::{Group, Order, Part, Query},
};

use super::problem::Problem;

/// The page size when none is asked for, in events.
const DEFAULT_LIMIT: usize = 100;

/// A parsed query string.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) query: Query,
    pub(super) limit: usize,
    pub(super) by: Option<Group>,
    /// All of them as they were given, but for `page`.
    given: Vec<(String, String)>,
}

/// Where conditions on the data begin; the path follows.
const DATA: &str = "data.";

/// Which events: the same everywhere.
const SELECTION: [&str; 11] = [
    "type",
    "project",
    "session",
    "subject",
    "min_priority",
    "since",
    "until",
    "text",
    "data.PATH",
    "include_dropped",
    "after_seq",
];

/// What a page takes besides.
const OF_PAGE: [&str; 4] = ["before_seq", "order", "limit", "page"];

/// What counting takes besides.
const OF_STATS: [&str; 2] = ["before_seq", "by"];

impl Parameters {
    pub(super) fn of_query(query: RawQuery) -> Result<Self, Problem> {
        Self::parse(query, &OF_PAGE)
    }

    /// A stream has no end and one direction.
    pub(super) fn of_stream(query: RawQuery) -> Result<Self, Problem> {
        Self::parse(query, &[])
    }

    pub(super) fn of_stats(query: RawQuery) -> Result<Self, Problem> {
        Self::parse(query, &OF_STATS)
    }

    /// The query string of another page of the same question.
    pub(super) fn for_page(&self, page: &str) -> String {
        let given = self.given.iter().map(|(name, value)| (&**name, &**value));
        // Pairs of texts can always be written.
        serde_urlencoded::to_string(given.chain([("page", page)]).collect::<Vec<_>>())
            .unwrap_or_default()
    }

    fn parse(RawQuery(query): RawQuery, besides: &[&'static str]) -> Result<Self, Problem> {
        let names = [&SELECTION[..], besides].concat();
        let mut all = Self { limit: DEFAULT_LIMIT, ..Self::default() };
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query)
            .map_err(|e| Problem::parameter("query", format!("not readable: {e}")))?;
        let mut seen = Vec::new();
        for (name, value) in pairs {
            match name.strip_prefix(DATA) {
                Some(path) => all.data(path, &name, &value)?,
                None if !names.contains(&name.as_str()) => return Err(unknown(&name, &names)),
                // Types and subjects are lists: any of them.
                None if !matches!(name.as_str(), "type" | "subject") && seen.contains(&name) => {
                    return Err(Problem::parameter(&name, "given twice"));
                }
                None => all.set(&name, &value)?,
            }
            if name != "page" {
                all.given.push((name.clone(), value));
            }
            seen.push(name);
        }
        Ok(all)
    }

    fn data(&mut self, path: &str, name: &str, value: &str) -> Result<(), Problem> {
        let condition = DataCondition::new(path, value).map_err(|e| Problem::parameter(name, e))?;
        self.query.selection.data.push(condition);
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let Self { query, limit, by, .. } = self;
        let Query { selection, after_seq, before_seq, order, part } = query;
        let Selection {
            types,
            patterns,
            project,
            session,
            min_priority,
            since,
            until,
            text,
            include_dropped,
            data: _,
        } = selection;
        match name {
            "type" => types.push(parsed(name, value)?),
            "subject" => patterns.push(parsed(name, value)?),
            "project" => *project = Some(parsed(name, value)?),
            "session" => *session = Some(parsed(name, value)?),
            "min_priority" => *min_priority = parsed(name, value)?,
            "since" => *since = Some(parsed(name, value)?),
            "until" => *until = Some(parsed(name, value)?),
            "text" => *text = Some(parsed(name, value)?),
            "page" => *part = self::part(value)?,
            "by" => {
                let group = Group::ALL.into_iter().find(|group| group.name() == value);
                let reason = "must be type, project or hour";
                *by = Some(group.ok_or_else(|| Problem::parameter(name, reason))?);
            }
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
            _ => return Err(unknown(name, &SELECTION)),
        }
        Ok(())
    }
}

fn part(value: &str) -> Result<Part, Problem> {
    match value.split_once(':') {
        None if value == "first" => Ok(Part::First),
        None if value == "last" => Ok(Part::Last),
        Some(("after", place)) => seq("page", place).map(Part::After),
        Some(("before", place)) => seq("page", place).map(Part::Before),
        _ => {
            let reason = "must be first, last, after:SEQ or before:SEQ";
            Err(Problem::parameter("page", reason))
        }
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
