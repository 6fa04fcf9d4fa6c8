//! Questions to the log.

use std::fmt::Write as _;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};

use crate::event::EventId;

use super::{Api, parameters::Parameters, problem::Problem};

pub(super) async fn list(State(api): State<Api>, query: RawQuery) -> Result<Response, Problem> {
    let Parameters { query, limit } = Parameters::of_query(query)?;
    let page = api.host.log().page(query.clone(), limit).await?;
    // After the page: what is gone from it by now is told.
    let (after, until) = page.stretch(&query, api.host.bus().head());
    let gone = api.host.log().gap(after, until).await?;
    let mut body = String::from("{\"events\":[");
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(entry.json());
    }
    let next = page.next.map_or("null".into(), |seq| seq.to_string());
    let gone = serde_json::to_string(&gone).unwrap_or_default();
    let _ = write!(body, "],\"next\":{next},\"pruned\":{gone}}}");
    Ok(json(body))
}

pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let wanted: EventId = id.parse().map_err(|e| Problem::parameter("id", e))?;
    match api.host.log().by_id(wanted).await? {
        Some(entry) => Ok(json(entry.json().to_owned())),
        None => Err(Problem::not_found(format!("no event {wanted} in the log"))),
    }
}

pub(super) fn json(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
