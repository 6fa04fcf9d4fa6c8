//! How many events there are, by what they have in common.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::store::{Counts, Group};

use super::{Api, parameters::Parameters, problem::Problem};

/// The answer.
#[derive(Serialize)]
pub(super) struct Stats {
    total: u64,
    /// The name of the groups.
    by: Option<&'static str>,
    counts: Vec<Count>,
}

/// One group: what it is under the name of its kind, and its `count`.
struct Count {
    by: &'static str,
    group: String,
    count: u64,
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.by, &self.group)?;
        map.serialize_entry("count", &self.count)?;
        map.end()
    }
}

pub(super) async fn stats(State(api): State<Api>, query: RawQuery) -> Result<Json<Stats>, Problem> {
    let Parameters { query, by, .. } = Parameters::of_stats(query)?;
    let Counts { total, groups } = api.host.log().count(query, by).await?;
    let by = by.map(Group::name);
    let of = |(group, count)| by.map(|by| Count { by, group, count });
    Ok(Json(Stats { total, by, counts: groups.into_iter().filter_map(of).collect() }))
}
