//! Commands about one plugin: `POST /v1/plugins/{name}/{reload|rollback|enable|disable}`.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::Value;

use crate::control::{Command, CommandName, ControlError, Origin};

use super::{Api, problem::Problem};

/// Answers the status of the plugin as it then is.
pub(super) async fn plugin(
    State(api): State<Api>,
    Path((plugin, command)): Path<(String, String)>,
) -> Result<axum::Json<Value>, Problem> {
    let name = match command.as_str() {
        "reload" => CommandName::Reload,
        "rollback" => CommandName::PluginRollback,
        "enable" => CommandName::PluginEnable,
        "disable" => CommandName::PluginDisable,
        other => {
            return Err(Problem::not_found(format!(
                "nothing to do with a plugin is called {other:?} (there are reload, rollback, enable \
                 and disable)"
            )));
        }
    };
    let command = Command::new(name, Some(&plugin))?;
    Ok(axum::Json(api.host.execute(Origin::Api, command).await?))
}

impl From<ControlError> for Problem {
    fn from(e: ControlError) -> Self {
        let detail = e.to_string();
        match e {
            ControlError::Invalid(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "urn:ennio:problem:invalid-command",
                "invalid command",
                detail,
            ),
            ControlError::NotAllowed(_) => Self::new(
                StatusCode::FORBIDDEN,
                "urn:ennio:problem:not-allowed",
                "not allowed",
                detail,
            ),
            ControlError::UnknownPlugin(_) => Self::not_found(detail),
            ControlError::Conflict(_) => Self::new(
                StatusCode::CONFLICT,
                "urn:ennio:problem:plugin-state",
                "not in this state of the plugin",
                detail,
            ),
            ControlError::NotLoaded { step, .. } => Self::not_loaded(step, detail),
            ControlError::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:unavailable",
                "not possible at the moment",
                detail,
            ),
        }
    }
}
