//! Questions to the log.

use std::fmt::Write as _;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    event::{EventId, EventRef},
    store::{Order, Page, Trace},
};

use super::{Api, parameters::Parameters, problem::Problem};

pub(super) async fn list(State(api): State<Api>, query: RawQuery) -> Result<Response, Problem> {
    let parameters = Parameters::of_query(query)?;
    let page = api.host.log().page(parameters.query.clone(), parameters.limit).await?;
    // After the page: what is gone from it by now is told.
    let (after, until) = page.stretch(&parameters.query, api.host.bus().head());
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
    let _ = write!(body, "],\"next\":{next},\"pruned\":{gone},\"links\":");
    let _ = write!(body, "{}}}", links(&parameters, &page));
    Ok(json(body))
}

/// Other pages of the same question.
fn links(parameters: &Parameters, page: &Page) -> serde_json::Value {
    let link = |page: &str| format!("/v1/events?{}", parameters.for_page(page));
    let (forth, back) = match parameters.query.order {
        Order::Ascending => ("after", "before"),
        Order::Descending => ("before", "after"),
    };
    serde_json::json!({
        "first": link("first"),
        "prev": page.prev.map(|seq| link(&format!("{back}:{seq}"))),
        "next": page.next.map(|seq| link(&format!("{forth}:{seq}"))),
        "last": link("last"),
    })
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

/// An event's way; `id` may be its place in the log as well.
pub(super) async fn trace(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<axum::Json<Trace>, Problem> {
    let wanted: EventRef = id.parse().map_err(|e| Problem::parameter("id", e))?;
    match api.host.log().trace(wanted).await? {
        Some(trace) => Ok(axum::Json(trace)),
        None => Err(Problem::not_found(match wanted {
            EventRef::Id(id) => format!("no event {id} in the log"),
            EventRef::Seq(seq) => format!("no event at seq {seq} in the log"),
        })),
    }
}

pub(super) fn json(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
