//! How many events there are, by what they have in common.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::store::{Counts, Group};

use super::{Api, parameters::Parameters, problem::Problem};

/// The answer.
#[derive(Serialize)]
pub(super) struct Stats {
    total: u64,
    /// The name of the groups.
    by: Option<&'static str>,
    /// One for each group, with its name under `by` and its `count`.
    counts: Vec<Value>,
}

pub(super) async fn stats(State(api): State<Api>, query: RawQuery) -> Result<Json<Stats>, Problem> {
    let Parameters { query, by, .. } = Parameters::of_stats(query)?;
    let Counts { total, groups } = api.host.log().count(query, by).await?;
    let by = by.map(Group::name);
    let of = |(group, count): (String, u64)| by.map(|by| json!({by: group, "count": count}));
    Ok(Json(Stats { total, by, counts: groups.into_iter().filter_map(of).collect() }))
}
