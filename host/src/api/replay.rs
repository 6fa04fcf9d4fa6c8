//! History for one reaction: `POST /v1/plugins/{name}/replay` with `{"events":[SEQ, …]}`.

use axum::{
    body::Body,
    extract::{Path, State},
};
use serde::Deserialize;

use super::{Api, body, problem::Problem};
use crate::{event::Seq, host::Replayed, store::MAX_PAGE};

/// The largest body, in bytes.
const BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    events: Vec<Seq>,
}

/// Has the plugin come back to events that it has passed, as far as there is room.
pub(super) async fn replay(
    State(api): State<Api>,
    Path(plugin): Path<String>,
    given: Body,
) -> Result<axum::Json<Replayed>, Problem> {
    let name = plugin.parse().map_err(|e| Problem::parameter("name", e))?;
    let given = body::read(given, BYTES, "send fewer events at once").await?;
    let Events { events } = serde_json::from_slice(&given).map_err(Problem::unreadable_body)?;
    if events.len() > MAX_PAGE {
        let (found, most) = (events.len(), MAX_PAGE);
        return Err(Problem::unreadable_body(format!("{found} events, at most {most} at once")));
    }
    Ok(axum::Json(api.host.replay(&name, &events).await?))
}
