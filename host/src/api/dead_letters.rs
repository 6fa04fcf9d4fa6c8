//! What reactions gave up on: to look at, to have tried again, to throw away.

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Api,
    parameters::{parsed, unknown},
    problem::Problem,
};
use crate::{
    event::LogEntry,
    host::Letters,
    store::{Attempt, Letter, LetterQuery, MAX_PAGE, WholeLetter},
};

/// The page size when none is asked for.
const DEFAULT_LIMIT: usize = 100;

/// What a list takes.
const LIST: [&str; 4] = ["plugin", "subject", "after", "limit"];
/// What a choice to do something with takes: at least one of them.
const CHOICE: [&str; 3] = ["plugin", "subject", "all"];

#[derive(Serialize)]
pub(super) struct Page {
    dead_letters: Vec<Letter>,
    /// The next `after`; `null` when this is all.
    next: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    letter: Letter,
    /// Every attempt, the oldest first.
    history: Vec<Attempt>,
    event: LogEntry,
}

/// A page of dead letters, the oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    query: RawQuery,
) -> Result<axum::Json<Page>, Problem> {
    let Parameters { query, limit, .. } = Parameters::read(query, &LIST)?;
    let dead_letters = api.host.log().letters(query, limit).await?;
    let next = dead_letters.last().filter(|_| dead_letters.len() == limit).map(|letter| letter.id);
    Ok(axum::Json(Page { dead_letters, next }))
}

/// One dead letter, with its event and every attempt.
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Whole>, Problem> {
    let id = number("id", &id)?;
    match api.host.log().letter(id).await? {
        Some(WholeLetter { letter, attempts, event }) => {
            Ok(axum::Json(Whole { letter, history: attempts, event }))
        }
        None => Err(gone(id)),
    }
}

/// Has one tried again.
pub(super) async fn retry_one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let id = number("id", &id)?;
    let done = api.host.retry_dead_letters(Letters::One(id)).await?;
    match (done.retried, done.left) {
        (0, 0) => Err(gone(id)),
        (0, _) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:ennio:problem:waiting-full",
            "too many events wait",
            format!(
                "dead letter {id} is left as it is: as many events wait for its plugin as may (try \
                 again when some have ended)"
            ),
        )),
        (retried, left) => Ok(axum::Json(json!({"retried": retried, "left": left}))),
    }
}

/// Has all that are chosen tried again.
pub(super) async fn retry(
    State(api): State<Api>,
    query: RawQuery,
) -> Result<axum::Json<Value>, Problem> {
    let chosen = Letters::Chosen(chosen(query)?);
    let done = api.host.retry_dead_letters(chosen).await?;
    Ok(axum::Json(json!({"retried": done.retried, "left": done.left})))
}

/// Throws one away.
pub(super) async fn discard_one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let id = number("id", &id)?;
    match api.host.discard_dead_letters(Letters::One(id)).await? {
        0 => Err(gone(id)),
        discarded => Ok(axum::Json(json!({"discarded": discarded}))),
    }
}

/// Throws all away that are chosen.
pub(super) async fn discard(
    State(api): State<Api>,
    query: RawQuery,
) -> Result<axum::Json<Value>, Problem> {
    let discarded = api.host.discard_dead_letters(Letters::Chosen(chosen(query)?)).await?;
    Ok(axum::Json(json!({"discarded": discarded})))
}

/// A parsed query string.
#[derive(Default)]
struct Parameters {
    query: LetterQuery,
    limit: usize,
    all: bool,
}

impl Parameters {
    fn read(RawQuery(query): RawQuery, names: &[&'static str]) -> Result<Self, Problem> {
        let mut all = Self { limit: DEFAULT_LIMIT, ..Self::default() };
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query)
            .map_err(|e| Problem::parameter("query", format!("not readable: {e}")))?;
        let mut seen = Vec::new();
        for (name, value) in pairs {
            if !names.contains(&name.as_str()) {
                return Err(unknown(&name, names));
            }
            // Patterns are a list: any of them.
            if name != "subject" && seen.contains(&name) {
                return Err(Problem::parameter(&name, "given twice"));
            }
            all.set(&name, &value)?;
            seen.push(name);
        }
        Ok(all)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "plugin" => self.query.plugin = Some(parsed(name, value)?),
            "subject" => self.query.patterns.push(parsed(name, value)?),
            "after" => self.query.after = number(name, value)?,
            "all" => {
                self.all = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(Problem::parameter(name, "must be true or false")),
                }
            }
            _ => {
                let number = value.parse().ok().filter(|number| (1..=MAX_PAGE).contains(number));
                self.limit = number.ok_or_else(|| {
                    Problem::parameter(name, format!("must be a number from 1 to {MAX_PAGE}"))
                })?;
            }
        }
        Ok(())
    }
}

/// Which ones something is done with: nobody means all of them by saying nothing.
fn chosen(query: RawQuery) -> Result<LetterQuery, Problem> {
    let Parameters { query, all, .. } = Parameters::read(query, &CHOICE)?;
    let is_narrowed = query.plugin.is_some() || !query.patterns.is_empty();
    match (is_narrowed, all) {
        (true, false) | (false, true) => Ok(query),
        (false, false) => Err(Problem::parameter(
            "all",
            "which dead letters is not said (give plugin, subject or all=true)",
        )),
        (true, true) => Err(Problem::parameter("all", "is given besides plugin or subject")),
    }
}

fn number(name: &str, text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| {
        Problem::parameter(name, format!("{text:?} is not the number of a dead letter"))
    })
}

fn gone(id: i64) -> Problem {
    Problem::not_found(format!(
        "there is no dead letter {id} (it may have been retried or discarded; GET /v1/dead-letters \
         lists all)"
    ))
}
