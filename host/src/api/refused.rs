//! Messages that were refused on the way in over NATS: to look at, to throw away.

use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, problem::Problem};
use crate::{
    host::RefusedChoice,
    store::{MAX_PAGE, RefusedMessage},
};

/// The page size when none is asked for.
const DEFAULT_LIMIT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    after: i64,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    #[serde(default)]
    all: bool,
}

#[derive(Serialize)]
pub(super) struct Page {
    refused: Vec<RefusedMessage>,
    /// The next `after`; `null` when this is all.
    next: Option<i64>,
    /// How many were kept once, until newer ones pushed them out.
    pushed_out: u64,
}

/// A message with its bytes: `text`, or `base64` where they are none.
#[derive(Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    message: RefusedMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// A page of refused messages, the oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    query: Result<Query<List>, axum::extract::rejection::QueryRejection>,
) -> Result<axum::Json<Page>, Problem> {
    let Query(List { after, limit }) = query.map_err(|e| Problem::parameter("query", e))?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_PAGE).contains(&limit) {
        let wanted = format!("must be a number from 1 to {MAX_PAGE}");
        return Err(Problem::parameter("limit", wanted));
    }
    let refused = api.host.log().refused(after, limit).await?;
    let next = refused.last().filter(|_| refused.len() == limit).map(|message| message.id);
    let pushed_out = api.host.log().refused_count().await?.pushed_out;
    Ok(axum::Json(Page { refused, next, pushed_out }))
}

/// One refused message, with what is kept of its bytes.
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Whole>, Problem> {
    let id = number(&id)?;
    let (message, bytes) = api.host.log().refused_message(id).await?.ok_or_else(|| gone(id))?;
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(e) => (None, Some(BASE64.encode(e.as_bytes()))),
    };
    Ok(axum::Json(Whole { message, text, base64 }))
}

/// Throws one away.
pub(super) async fn discard_one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let id = number(&id)?;
    match api.host.discard_refused(RefusedChoice::One(id)).await? {
        0 => Err(gone(id)),
        discarded => Ok(axum::Json(json!({"discarded": discarded}))),
    }
}

/// Throws all away.
pub(super) async fn discard(
    State(api): State<Api>,
    query: Result<Query<Choice>, axum::extract::rejection::QueryRejection>,
) -> Result<axum::Json<Value>, Problem> {
    let Query(Choice { all }) = query.map_err(|e| Problem::parameter("query", e))?;
    if !all {
        return Err(Problem::parameter(
            "all",
            "which messages is not said (give all=true, or the number of one in the path)",
        ));
    }
    let discarded = api.host.discard_refused(RefusedChoice::All).await?;
    Ok(axum::Json(json!({"discarded": discarded})))
}

fn number(text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:ennio:problem:invalid-parameter",
            "invalid number",
            format!("id: {text:?} is not the number of a refused message"),
        )
    })
}

fn gone(id: i64) -> Problem {
    Problem::not_found(format!(
        "there is no refused message {id} (it may have been discarded, or pushed out by newer ones; \
         GET /v1/dead-letters/refused lists all)"
    ))
}
