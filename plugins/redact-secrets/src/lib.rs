//! Masks keys, tokens and passwords in an event's message and anywhere in its data.
//!
//! - `kind`: the kinds of secrets, and the mask of each.
//! - `key`: tells from a name that its value is a secret.
//! - `text`: finds secrets in a text, in passes: `token` by what they look like, `aws` by what else is
//!   in the event, `named` by a name before them; `scan` walks the text for each.
//! - `data`: masks a JSON value and says what changed as an RFC 7396 merge patch.
//!
//! Where in doubt, mask: a masked word can be looked up at its source, a published key must be
//! revoked. The mask itself is never taken for a secret, so masking again changes nothing.

mod aws;
mod data;
mod key;
mod kind;
mod named;
mod scan;
mod text;
mod token;

use std::borrow::Cow;

use ennio_plugin::{Description, Enricher, Enrichment, Event, Patch, Plugin};
use serde::Deserialize;

use crate::key::KeyNames;
use crate::text::Context;

/// The contract's bound of a message, in bytes.
const MESSAGE_LIMIT: usize = 8_192;

/// The sidecar's `[config]`; `redact-secrets.toml` tells what each key means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    secret_keys: Vec<String>,
    harmless_keys: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let harmless =
            ["token_count", "max_tokens", "input_tokens", "output_tokens", "total_tokens"];
        Config {
            secret_keys: Vec::new(),
            harmless_keys: harmless.into_iter().map(Into::into).collect(),
        }
    }
}

struct RedactSecrets {
    keys: KeyNames,
}

impl Plugin for RedactSecrets {
    type Config = Config;

    fn description() -> Description {
        Description::new(
            env!("CARGO_PKG_VERSION"),
            "masks keys, tokens and passwords in messages and data",
        )
    }

    fn configure(config: Config) -> Result<Self, String> {
        let keys = KeyNames::new(&config.secret_keys, &config.harmless_keys)?;
        Ok(RedactSecrets { keys })
    }
}

impl Enricher for RedactSecrets {
    fn enrich(&mut self, event: &Event) -> Enrichment {
        let has_aws_key =
            aws::has_access_key(&event.message) || aws::has_access_key(&event.data_json);
        let context = Context { keys: &self.keys, has_aws_key };
        let mut patch = Patch::new();
        if let Cow::Owned(mut masked) = text::masked(&event.message, context) {
            // A mask can be longer than what it hides.
            masked.truncate(masked.floor_char_boundary(MESSAGE_LIMIT));
            patch = patch.message(masked);
        }
        let value = event.data().map_err(|error| format!("data is not JSON: {error}"))?;
        if let Some(change) = data::masking_patch(&value, context) {
            patch = patch.data(change);
        }
        Ok(patch.non_empty())
    }
}

ennio_plugin::export!(RedactSecrets: enricher);

#[cfg(test)]
mod tests;
