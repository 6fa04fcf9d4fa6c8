//! Masks a JSON value, and says what changed as an RFC 7396 merge patch.
//!
//! The patch holds only the members that changed, so that it does not undo what stands beside them.
//! What a merge patch can not say decides the rest:
//!
//! - Elements of an array can not be named: an array with a change in it is given whole.
//! - A member can not be renamed: one whose *name* is a secret is removed and added anew under a
//!   masked name. A merge patch can not add null members, so a null inside an object added in this
//!   way is lost; the secret weighs more.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::key::{KeyNames, Says};
use crate::kind::{Kind, is_mask};
use crate::text;

/// The patch that masks every secret of the value; `None` when there is none.
pub(crate) fn masking_patch(value: &Value, keys: &KeyNames) -> Option<Value> {
    patch(value, Says::Nothing, keys)
}

fn patch(value: &Value, says: Says, keys: &KeyNames) -> Option<Value> {
    match value {
        Value::Object(members) => object_patch(members, says, keys).map(Value::Object),
        other => {
            let masked = masked(other, says, keys);
            (masked != *other).then_some(masked)
        }
    }
}

fn object_patch(
    members: &Map<String, Value>,
    says: Says,
    keys: &KeyNames,
) -> Option<Map<String, Value>> {
    let mut changes = Map::new();
    for (name, value) in members {
        let below = below(name, says, keys);
        match text::masked(name) {
            Cow::Borrowed(_) => {
                if let Some(change) = patch(value, below, keys) {
                    changes.insert(name.clone(), change);
                }
            }
            Cow::Owned(mask) => {
                let mask = free_name(mask, |taken| {
                    members.contains_key(taken) || changes.contains_key(taken)
                });
                changes.insert(name.clone(), Value::Null);
                changes.insert(mask, masked(value, below, keys));
            }
        }
    }
    (!changes.is_empty()).then_some(changes)
}

/// The value with every secret masked. `says` is what the name above it said, and holds for
/// everything below that name.
fn masked(value: &Value, says: Says, keys: &KeyNames) -> Value {
    match value {
        Value::String(text) => Value::String(masked_text(text, says)),
        Value::Number(_) if says == Says::Secret => Kind::NamedSecret.mask().into(),
        Value::Array(elements) => {
            elements.iter().map(|element| masked(element, says, keys)).collect()
        }
        Value::Object(members) => {
            let mut out = Map::new();
            for (name, value) in members {
                let name_masked = match text::masked(name) {
                    Cow::Borrowed(name) => name.to_owned(),
                    Cow::Owned(mask) => free_name(mask, |taken| {
                        members.contains_key(taken) || out.contains_key(taken)
                    }),
                };
                out.insert(name_masked, masked(value, below(name, says, keys), keys));
            }
            Value::Object(out)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn masked_text(text: &str, says: Says) -> String {
    match says {
        Says::Nothing => text::masked(text).into_owned(),
        Says::SecretText | Says::Secret if text.is_empty() || is_mask(text) => text.to_owned(),
        Says::SecretText | Says::Secret => Kind::NamedSecret.mask().to_owned(),
    }
}

/// What holds below a member: the stronger of what holds above it and what its own name says. A
/// masked name says nothing, although the mask has telling words.
fn below(name: &str, above: Says, keys: &KeyNames) -> Says {
    let own = if name.contains("[redacted:") { Says::Nothing } else { keys.says(name) };
    match (above, own) {
        (Says::Secret, _) | (_, Says::Secret) => Says::Secret,
        (Says::SecretText, _) | (_, Says::SecretText) => Says::SecretText,
        (Says::Nothing, Says::Nothing) => Says::Nothing,
    }
}

/// The mask, numbered when the object already has a member of that name.
fn free_name(mask: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&mask) {
        return mask;
    }
    (2_usize..).map(|n| format!("{mask}-{n}")).find(|name| !taken(name)).unwrap_or(mask)
}
