//! The way back from a merge patch, where it added and did not overwrite.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::{Data, Reason, member, members, name, syntax};

impl Data {
    /// This value without the members that an RFC 7396 merge patch sets, and without the objects
    /// that are empty then; everything else is kept to the byte. Merging the patch again gives this
    /// value. It is what stood here before the patch if that only added members, which nobody can
    /// tell from the two alone.
    ///
    /// # Errors
    /// A [`Reason`] when the patch is no JSON.
    pub(crate) fn without(&self, patch: &str) -> Result<Self, Reason> {
        let patch: Self = patch.parse()?;
        let mut left = String::with_capacity(self.as_str().len());
        strip(&self.0, &patch.0, &mut left).map_err(syntax)?;
        Self::of_compact(left)
    }
}

/// Both sides are bounded in depth, so the recursion is.
fn strip(target: &RawValue, patch: &RawValue, out: &mut String) -> serde_json::Result<()> {
    let (Some(found), Some(set)) = (members(target)?, members(patch)?) else {
        out.push_str(target.get());
        return Ok(());
    };
    let set: IndexMap<Cow<'_, str>, &RawValue> =
        set.into_iter().map(|(key, to)| Ok((name(key)?, to))).collect::<serde_json::Result<_>>()?;
    out.push('{');
    let begin = out.len();
    for (key, value) in found {
        let mut left = None;
        match set.get(&*name(key)?) {
            Some(to) if to.get().starts_with('{') && value.get().starts_with('{') => {
                let mut inner = String::new();
                strip(value, to, &mut inner)?;
                left = (inner != "{}").then_some(Cow::Owned(inner));
            }
            // What a patch deletes it has not put there.
            Some(to) if to.get() != "null" => {}
            _ => left = Some(Cow::Borrowed(value.get())),
        }
        if let Some(left) = left {
            member(out, begin, key);
            out.push_str(&left);
        }
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(text: &str) -> Data {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_patch_added_is_taken_out_and_the_rest_kept_to_the_byte() {
        for (before, patch) in [
            (r#"{"b":1.50,"a":"\u00e9"}"#, r#"{"triage":{"class":"test","failures":2}}"#),
            (r#"{"a":{"kept":1},"b":[]}"#, r#"{"a":{"new":{"x":{}}},"c":[1]}"#),
            (r#"{"a":1}"#, r#"{"gone":null}"#),
            (r#"{}"#, r#"{"n":null,"a":{"n":null,"b":1}}"#),
            ("5", "7"),
        ] {
            let after = data(before).merged(patch).unwrap();
            let expected = if before == "5" { "7" } else { before };
            assert_eq!(after.without(patch).unwrap().as_str(), expected, "{patch}");
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(Into::into),
            "[a-c]{0,2}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, of_members)
    }

    fn object() -> impl Strategy<Value = serde_json::Value> {
        of_members(value())
    }

    fn of_members(
        value: impl Strategy<Value = serde_json::Value>,
    ) -> impl Strategy<Value = serde_json::Value> {
        prop::collection::btree_map("[a-e]", value, 0..4)
            .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn merging_the_patch_again_gives_the_value_again(before in value(), patch in object()) {
            let patch = patch.to_string();
            let after = data(&before.to_string()).merged(&patch).unwrap();
            let again = after.without(&patch).unwrap().merged(&patch).unwrap();
            let json = |data: &Data| serde_json::from_str::<serde_json::Value>(data.as_str()).unwrap();
            prop_assert_eq!(json(&again), json(&after));
        }
    }
}
