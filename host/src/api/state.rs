//! What plugins remember, to look at, to mend, to move.
//!
//! An entry as JSON is `{"key": …, "text": …}`, or with `base64` where the value is no text.

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, body, problem::Problem};
use crate::{
    event::PluginName,
    store::state::{EditError, MAX_VALUE, Side, StateEntry, Write},
};

/// The largest import, in bytes.
const IMPORT_BYTES: usize = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl From<StateEntry> for Entry {
    fn from(StateEntry { key, value }: StateEntry) -> Self {
        match String::from_utf8(value) {
            Ok(text) => Self { key, text: Some(text), base64: None },
            Err(e) => Self { key, text: None, base64: Some(BASE64.encode(e.as_bytes())) },
        }
    }
}

impl Entry {
    fn write(self) -> Result<Write, String> {
        match (self.text, self.base64) {
            (Some(text), None) => Ok((self.key, Some(text.into_bytes()))),
            (None, Some(text)) => match BASE64.decode(text) {
                Ok(value) => Ok((self.key, Some(value))),
                Err(e) => Err(format!("base64: {e}")),
            },
            _ => Err("needs either `text` or `base64`".into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    /// Delete the keys that the import does not name.
    #[serde(default)]
    replace: bool,
}

/// How much the plugin remembers. One that never wrote, or is not there, remembers nothing.
pub(super) async fn usage(
    State(api): State<Api>,
    Path(plugin): Path<String>,
) -> Result<Response, Problem> {
    let plugin = name(&plugin)?;
    let usage = api.host.log().state_usage(plugin.clone()).await?;
    let bucket = |usage: crate::store::state::StateUsage| json!({"bucket": usage.side.as_str(), "keys": usage.keys, "bytes": usage.bytes});
    Ok(axum::Json(json!({"plugin": plugin, "buckets": usage.map(bucket)})).into_response())
}

/// Every entry of a bucket, as it was at one moment, one a line.
pub(super) async fn export(
    State(api): State<Api>,
    Path((plugin, bucket)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (plugin, side) = (name(&plugin)?, side(&bucket)?);
    let entries = api.host.log().state_entries(plugin, side).await?;
    let mut lines = String::new();
    for entry in entries {
        let line = serde_json::to_string(&Entry::from(entry)).map_err(Problem::unreadable_body)?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// Takes the lines of an export: all of them, or none.
pub(super) async fn import(
    State(api): State<Api>,
    Path((plugin, bucket)): Path<(String, String)>,
    Query(Import { replace }): Query<Import>,
    given: Body,
) -> Result<Response, Problem> {
    let (plugin, side) = (name(&plugin)?, side(&bucket)?);
    let given = body::read(given, IMPORT_BYTES, "import in several parts").await?;
    let lines = given.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let writes: Vec<Write> = lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| {
            let entry = serde_json::from_slice::<Entry>(line).map_err(|e| e.to_string());
            entry.and_then(Entry::write).map_err(|e| invalid(format!("line {}: {e}", at + 1)))
        })
        .collect::<Result<_, _>>()?;
    let keys = writes.len();
    api.host.edit_state(&plugin, side, writes, replace).await?;
    Ok(axum::Json(json!({"plugin": plugin, "bucket": side.as_str(), "imported": keys}))
        .into_response())
}

/// The value of a key, as it is.
pub(super) async fn get(
    State(api): State<Api>,
    Path((plugin, bucket, key)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let (plugin, side) = (name(&plugin)?, side(&bucket)?);
    match api.host.log().state_value(plugin.clone(), side, key.clone()).await? {
        Some(value) => {
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response())
        }
        None => Err(Problem::not_found(format!(
            "plugin {plugin} has no key {key:?} in its bucket {side}"
        ))),
    }
}

/// Sets a key to the body.
pub(super) async fn put(
    State(api): State<Api>,
    Path((plugin, bucket, key)): Path<(String, String, String)>,
    given: Body,
) -> Result<StatusCode, Problem> {
    let (plugin, side) = (name(&plugin)?, side(&bucket)?);
    let value = body::read(given, MAX_VALUE, "it is the value of one key").await?;
    let writes = vec![(key, Some(value.to_vec()))];
    api.host.edit_state(&plugin, side, writes, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a key, if it is there.
pub(super) async fn delete(
    State(api): State<Api>,
    Path((plugin, bucket, key)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let (plugin, side) = (name(&plugin)?, side(&bucket)?);
    api.host.edit_state(&plugin, side, vec![(key, None)], false).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn name(text: &str) -> Result<PluginName, Problem> {
    text.parse().map_err(|e| invalid(format!("plugin: {e}")))
}

fn side(text: &str) -> Result<Side, Problem> {
    text.parse().map_err(invalid)
}

fn invalid(detail: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "urn:ennio:problem:invalid-state",
        "not a plugin's state",
        detail,
    )
}

impl From<EditError> for Problem {
    fn from(e: EditError) -> Self {
        match e {
            EditError::State(e) => invalid(e.to_string()),
            EditError::Store(e) => e.into(),
        }
    }
}
