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

use crate::key::Says;
use crate::kind::{Kind, MASK, is_mask};
use crate::named::is_flag;
use crate::text::{self, Context};

/// The patch that masks every secret of the value; `None` when there is none.
pub(crate) fn masking_patch(value: &Value, context: Context<'_>) -> Option<Value> {
    patch(value, Says::Nothing, context)
}

fn patch(value: &Value, says: Says, context: Context<'_>) -> Option<Value> {
    match value {
        Value::Object(members) => object_patch(members, says, context).map(Value::Object),
        other => {
            let masked = masked(other, says, context);
            (masked != *other).then_some(masked)
        }
    }
}

fn object_patch(
    members: &Map<String, Value>,
    says: Says,
    context: Context<'_>,
) -> Option<Map<String, Value>> {
    let mut changes = Map::new();
    for (name, value) in members {
        let below = below(name, members, says, context);
        match text::masked(name, context) {
            Cow::Borrowed(_) => {
                if let Some(change) = patch(value, below, context) {
                    changes.insert(name.clone(), change);
                }
            }
            Cow::Owned(mask) => {
                let mask = free_name(mask, |taken| {
                    members.contains_key(taken) || changes.contains_key(taken)
                });
                changes.insert(name.clone(), Value::Null);
                changes.insert(mask, masked(value, below, context));
            }
        }
    }
    (!changes.is_empty()).then_some(changes)
}

/// The value with every secret masked. `says` is what the name above it said, and holds for
/// everything below that name.
fn masked(value: &Value, says: Says, context: Context<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(masked_text(text, says, context)),
        Value::Number(_) if says == Says::Secret => Kind::NamedSecret.mask().into(),
        Value::Array(elements) => {
            let before = std::iter::once(None).chain(elements.iter().map(Some));
            let pairs = before.zip(elements);
            pairs
                .map(|(before, element)| masked(element, after(before, says, context), context))
                .collect()
        }
        Value::Object(members) => {
            let mut out = Map::new();
            for (name, value) in members {
                let name_masked = match text::masked(name, context) {
                    Cow::Borrowed(name) => name.to_owned(),
                    Cow::Owned(mask) => free_name(mask, |taken| {
                        members.contains_key(taken) || out.contains_key(taken)
                    }),
                };
                out.insert(
                    name_masked,
                    masked(value, below(name, members, says, context), context),
                );
            }
            Value::Object(out)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn masked_text(text: &str, says: Says, context: Context<'_>) -> String {
    match says {
        Says::Nothing => text::masked(text, context).into_owned(),
        Says::SecretText | Says::Secret if text.is_empty() || is_mask(text) => text.to_owned(),
        Says::SecretText | Says::Secret => Kind::NamedSecret.mask().to_owned(),
    }
}

/// What holds below a member: the strongest of what holds above it, what its own name says, and,
/// when it is the `value` of something, what the name of that says.
fn below(name: &str, members: &Map<String, Value>, above: Says, context: Context<'_>) -> Says {
    let beside = ["name", "key", "header"].iter().filter(|_| name.eq_ignore_ascii_case("value"));
    let beside = beside.filter_map(|name| members.get(*name)?.as_str());
    beside.chain([name]).map(|name| said(name, context)).fold(above, Says::max)
}

/// What holds of an element of an array: after a flag like `--password`, what the flag says.
fn after(before: Option<&Value>, above: Says, context: Context<'_>) -> Says {
    match before.and_then(Value::as_str) {
        Some(flag) if is_flag(flag) => above.max(said(flag, context)),
        _ => above,
    }
}

/// A masked name says nothing, although the mask has telling words.
fn said(name: &str, context: Context<'_>) -> Says {
    if name.contains(MASK) { Says::Nothing } else { context.keys.says(name) }
}

/// The mask, numbered when the object already has a member of that name.
fn free_name(mask: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&mask) {
        return mask;
    }
    (2_usize..).map(|n| format!("{mask}-{n}")).find(|name| !taken(name)).unwrap_or(mask)
}
