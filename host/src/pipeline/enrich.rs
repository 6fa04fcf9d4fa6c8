//! The enrich stage: each enricher, in its order, sees what those before it made of an event.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    event::{Event, EventPriority, MAX_DATA_BYTES, Message, Reason},
    plugin::{CallError, Patch, PluginSet},
    store::Role,
};

use super::{
    item::{Item, Members, chosen, events, on_error},
    lineup::ItemCall,
};

/// Adds the calls to `calls` that are worth a row.
pub(super) async fn enrich(plugins: &PluginSet, items: &mut [Item], calls: &mut Vec<ItemCall>) {
    let stage = &plugins.enrichers;
    let subscriptions = |items: &[Item]| stage.subscribed(items.iter().map(|item| &item.subject));
    let mut subscribed = subscriptions(items);
    for (number, plugin) in stage.plugins().iter().enumerate() {
        let chosen = chosen(plugin, items, subscribed.get(number).map_or(&[], Vec::as_slice));
        if chosen.is_empty() {
            continue;
        }
        let told = plugin.enrich(&events(items, &chosen)).await;
        let mut changed = 0;
        let mut moved = false;
        for (at, (call, patch)) in chosen.iter().zip(told.answers) {
            let (Some(item), Some(call)) = (items.get_mut(*at), told.calls.get(call)) else {
                continue;
            };
            match patch {
                Ok(None) => {}
                Ok(Some(patch)) => match apply(&item.event, &patch) {
                    Ok(Some((members, record))) => {
                        moved |= item.change(plugin, call, members, record);
                        changed += 1;
                    }
                    Ok(None) => {}
                    Err(e) => {
                        let e = CallError::Nonsense(e);
                        plugin.count_failure(&e);
                        on_error(plugin, Role::Enricher, call, item, &e);
                    }
                },
                Err(e) => on_error(plugin, Role::Enricher, call, item, &e),
            }
        }
        plugin.count_changed(changed);
        calls.extend(ItemCall::notable(plugin, Role::Enricher, &chosen, told.calls));
        if moved {
            subscribed = subscriptions(items);
        }
    }
}

/// What the patch changes, and the same as JSON; `None` when it changes nothing.
fn apply(event: &Event, patch: &Patch) -> Result<Option<(Members, String)>, String> {
    #[derive(Serialize)]
    struct Record<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        priority: Option<EventPriority>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    }
    let fault = |field: &str| {
        let field = field.to_owned();
        move |reason: Reason| format!("a patch whose {field} {reason}")
    };
    let priority = patch.priority.filter(|priority| *priority != event.priority);
    let message = match &patch.message {
        Some(text) => Some(text.parse::<Message>().map_err(fault("message"))?),
        None => None,
    };
    let message = message.filter(|message| *message != event.message);
    let data = match &patch.data {
        // White space too: a patch is recorded as the guest wrote it.
        Some(merge) if merge.len() > MAX_DATA_BYTES => {
            let bytes = merge.len();
            return Err(format!(
                "a patch whose data has {bytes} bytes, at most {MAX_DATA_BYTES} are allowed"
            ));
        }
        Some(merge) => Some(event.data.merged(merge).map_err(fault("data"))?),
        None => None,
    };
    let data = data.filter(|data| *data != event.data);
    let members = Members { priority, message, data };
    if members.is_empty() {
        return Ok(None);
    }
    let merge = match (&members.data, &patch.data) {
        (Some(_), Some(merge)) => Some(serde_json::from_str(merge).map_err(|e| e.to_string())?),
        _ => None,
    };
    let message = members.message.as_ref().map(Message::as_str);
    let record = Record { priority, message, data: merge };
    let record = serde_json::to_string(&record).map_err(|e| e.to_string())?;
    Ok(Some((members, record)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, EventType, Timestamp};

    fn event() -> Event {
        let mut draft =
            Draft::new(EventType::CiFailing, "p".parse().unwrap(), "s".parse().unwrap());
        draft.data = Some(r#"{"a":1,"b":2}"#.parse().unwrap());
        draft.into_event(Timestamp::now())
    }

    #[test]
    fn a_patch_changes_what_it_names_and_is_recorded() {
        let patch = Patch {
            priority: Some(EventPriority::Urgent),
            message: None,
            data: Some(r#"{"b":null,"c":3}"#.into()),
        };
        let (members, record) = apply(&event(), &patch).unwrap().unwrap();
        assert_eq!(members.priority, Some(EventPriority::Urgent));
        assert_eq!(members.message, None);
        assert_eq!(members.data.unwrap().as_str(), r#"{"a":1,"c":3}"#);
        assert_eq!(record, r#"{"priority":"urgent","data":{"b":null,"c":3}}"#);
    }

    #[test]
    fn a_patch_that_changes_nothing_leaves_no_record() {
        let patch = Patch { data: Some(r#"{"a":1}"#.into()), ..Patch::default() };
        assert_eq!(apply(&event(), &patch).unwrap(), None);
    }

    #[test]
    fn a_patch_that_breaks_a_bound_is_refused_whole() {
        for (patch, reason) in [
            (Patch { data: Some("{".into()), ..Patch::default() }, "data not valid JSON"),
            (Patch { message: Some("x".repeat(9000)), ..Patch::default() }, "message too long"),
            (
                Patch {
                    data: Some(format!("{{\"x\":{}1{}}}", "[".repeat(64), "]".repeat(64))),
                    ..Patch::default()
                },
                "data nested deeper than 64 levels",
            ),
            (
                Patch {
                    data: Some(format!("{{\"x\":{}1}}", " ".repeat(MAX_DATA_BYTES))),
                    ..Patch::default()
                },
                "data has 262151 bytes, at most 262144 are allowed",
            ),
        ] {
            let error = apply(&event(), &patch).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
