//! `branch=main`: a place in `data`, and what has to stand there.
//!
//! A condition is asked of the raw text: only the objects and arrays on its path are opened, nothing
//! is built. Knows JSON; may not know who asks.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Data,
    data::MAX_DATA_DEPTH,
    decimal::Decimal,
    error::{Reason, excerpt},
};

/// One value within `data`, written `PATH=VALUE`.
///
/// **PATH** is names joined by dots: `branch`, `pull.head.ref`. A number is an index, from 0, where
/// an array stands, and a name where an object does: `labels.0.name`. A name that holds a dot, an
/// equals sign or a quote, or is empty, is written as a JSON string: `"a.b".c`; what is quoted is
/// never an index. At most 64 names.
///
/// **VALUE** in double quotes is a JSON string, and only that string is equal. Anything else is
/// taken as it stands: equal are the string of exactly this text and, where it reads as one, the
/// JSON number of this value, `true`, `false` or `null`. So `pr=7` finds `7`, `7.0` and `"7"`, and
/// `pr="7"` only the last. Numbers are compared by value, in all of their digits. No object or array
/// is equal to anything, and what is not there is not equal to `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataCondition {
    path: Vec<Step>,
    value: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: Box<str>,
    /// Which element that is of an array.
    index: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    text: Box<str>,
    /// Given in quotes: a string and nothing else.
    is_string: bool,
    number: Option<Decimal>,
}

impl DataCondition {
    /// From its two halves, each written as in `PATH=VALUE`.
    ///
    /// # Errors
    /// A [`Reason`] when the path is empty, too long or not closed, or a quoted value is no JSON
    /// string.
    pub fn new(path: &str, value: &str) -> Result<Self, Reason> {
        match parse_path(path)? {
            (path, "") => Ok(Self { path, value: value.parse()? }),
            (_, rest) => Err(bad_path(format!("{:?} follows on it", excerpt(rest)))),
        }
    }

    /// Whether this value stands at this place.
    pub fn matches(&self, data: &Data) -> bool {
        self.matches_raw(data.raw().get())
    }

    /// Of JSON text that was `Data` once.
    pub(crate) fn matches_raw(&self, data: &str) -> bool {
        let mut found = data;
        for step in &self.path {
            match step.within(found) {
                Some(value) => found = value.get(),
                None => return false,
            }
        }
        self.value.equals(found)
    }
}

/// Reads `PATH=VALUE`.
impl FromStr for DataCondition {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let (path, rest) = parse_path(text)?;
        match rest.strip_prefix('=') {
            Some(value) => Ok(Self { path, value: value.parse()? }),
            None => Err(bad_path("no `=` and value follow on it".into())),
        }
    }
}

/// Written so that it reads back as the same.
impl fmt::Display for DataCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path(), self.value())
    }
}

impl DataCondition {
    /// The half before the equals sign.
    pub fn path(&self) -> String {
        let name = |step: &Step| {
            let looks_like_index = index(&step.name).is_some();
            let is_plain = !step.name.is_empty()
                && !step.name.contains(['.', '=', '"'])
                && looks_like_index == step.index.is_some();
            if is_plain { step.name.to_string() } else { quoted(&step.name) }
        };
        self.path.iter().map(name).collect::<Vec<_>>().join(".")
    }

    /// The half behind the equals sign.
    pub fn value(&self) -> String {
        match self.value.is_string {
            true => quoted(&self.value.text),
            false => self.value.text.to_string(),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The names, and what follows on them: nothing, or text from an equals sign on.
fn parse_path(text: &str) -> Result<(Vec<Step>, &str), Reason> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (step, after) = parse_step(rest)?;
        path.push(step);
        if path.len() > MAX_DATA_DEPTH {
            return Err(Reason::TooDeep { limit: MAX_DATA_DEPTH });
        }
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() || after.starts_with('=') => return Ok((path, after)),
            None => return Err(bad_path(format!("{:?} follows on a name", excerpt(after)))),
        }
    }
}

fn parse_step(text: &str) -> Result<(Step, &str), Reason> {
    if text.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = match strings.next() {
            Some(Ok(name)) => name,
            _ => return Err(bad_path(format!("{:?} is not a JSON string", excerpt(text)))),
        };
        let rest = text.get(strings.byte_offset()..).unwrap_or_default();
        return Ok((Step { name: name.into(), index: None }, rest));
    }
    let end = text.find(['.', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err(bad_path("a name is empty".into()));
    }
    if name.contains('"') {
        return Err(bad_path(format!("{:?} has a quote within it", excerpt(name))));
    }
    Ok((Step { name: name.into(), index: index(name) }, rest))
}

/// The index that a name may be as well.
fn index(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit());
    let is_canonical = name == "0" || !name.starts_with('0');
    name.parse().ok().filter(|_| is_number && is_canonical)
}

fn bad_path(detail: String) -> Reason {
    Reason::Format {
        expected: "a path into data and a value, like branch=main or \"a.b\".0=7",
        detail,
    }
}

impl FromStr for Wanted {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        if text.starts_with('"') {
            let string: String = serde_json::from_str(text).map_err(|_| Reason::Format {
                expected: "a JSON string, since it begins with a quote",
                detail: format!("found {:?}", excerpt(text)),
            })?;
            return Ok(Self { text: string.into(), is_string: true, number: None });
        }
        Ok(Self { text: text.into(), is_string: false, number: Decimal::parse(text) })
    }
}

impl Wanted {
    fn equals(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'"') => string(json).is_some_and(|found| *found == *self.text),
            Some(b'{' | b'[') | None => false,
            Some(b't' | b'f' | b'n') => !self.is_string && json == &*self.text,
            Some(_) => self
                .number
                .as_ref()
                .is_some_and(|wanted| Decimal::parse(json).as_ref() == Some(wanted)),
        }
    }
}

/// What a JSON string says.
fn string(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(json).ok().map(|Text(text)| text)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Step {
    fn within<'a>(&self, json: &'a str) -> Option<&'a RawValue> {
        let mut values = serde_json::Deserializer::from_str(json);
        match json.as_bytes().first() {
            Some(b'{') => values.deserialize_map(Member(&self.name)).ok()?,
            Some(b'[') => values.deserialize_seq(Element(self.index?)).ok()?,
            _ => None,
        }
    }
}

/// The member of this name; of one that is given twice the last, as everywhere in the host.
struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = map.next_key()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The element at this index.
struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = seq.next_element()?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn holds(condition: &str, data: &str) -> bool {
        let condition: DataCondition = condition.parse().unwrap();
        let again: DataCondition = condition.to_string().parse().unwrap();
        assert_eq!(again, condition);
        condition.matches(&data.parse().unwrap())
    }

    #[test]
    fn a_value_is_found_at_its_path() {
        let data = r#"{"branch":"main","pr":7,"ok":true,"no":null,"head":{"ref":"x","a.b":{"":[1]}},
                       "labels":[{"name":"bug"},"2",[0.5]],"0":"zero","=":"\"","t":"true"}"#;
        for good in [
            "branch=main",
            "branch=\"main\"",
            "pr=7",
            "pr=7.0",
            "pr=70e-1",
            "ok=true",
            "no=null",
            "head.ref=x",
            "head.\"a.b\".\"\".0=1",
            "labels.0.name=bug",
            "labels.1=2",
            "labels.1=\"2\"",
            "labels.2.0=0.50",
            "0=zero",
            "\"0\"=zero",
            "\"=\"=\"\\\"\"",
            "\"branch\"=main",
            "t=true",
            "t=\"true\"",
        ] {
            assert!(holds(good, data), "{good}");
        }
        for bad in [
            "branch=Main",
            "branch=main ",
            "branch=",
            "pr=\"7\"",
            "pr=07",
            "pr=7x",
            "ok=\"true\"",
            "ok=1",
            "no=",
            "none=null",
            "head=x",
            "head.ref.x=x",
            "labels.3=x",
            "labels.00.name=bug",
            "labels.\"0\".name=bug",
            "labels=bug",
            "labels.name=bug",
            "branch.0=m",
            "1=zero",
        ] {
            assert!(!holds(bad, data), "{bad}");
        }
        assert!(!holds("a=1", "[1]") && holds("0=1", "[1]") && !holds("a=null", "null"));
    }

    #[test]
    fn numbers_are_compared_by_value_in_all_of_their_digits() {
        assert!(holds("n=9007199254740993", r#"{"n":9007199254740993}"#));
        assert!(!holds("n=9007199254740993", r#"{"n":9007199254740992}"#));
        assert!(holds("n=0", r#"{"n":-0.0e7}"#));
        assert!(holds("n=1200", r#"{"n":1.2E+3}"#));
        assert!(!holds("n=-1", r#"{"n":1}"#));
    }

    #[test]
    fn of_a_name_that_is_given_twice_the_last_counts() {
        assert!(holds("a.b=2", r#"{"a":{"b":1},"a":{"b":1,"b":2}}"#));
        assert!(!holds("a.b=1", r#"{"a":{"b":1},"a":7}"#));
        assert!(holds("\u{e9}\\=1", r#"{"\u00e9\\":1}"#));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<DataCondition>().unwrap_err().to_string();
        assert!(error("branch").contains("no `=` and value follow"), "{}", error("branch"));
        assert!(error("=x").contains("a name is empty"));
        assert!(error("a..b=x").contains("a name is empty"));
        assert!(error("a.=x").contains("a name is empty"));
        assert!(error("a\"b=x").contains("quote within"));
        assert!(error("\"a=x").contains("not a JSON string"));
        assert!(error("\"a\"b=x").contains("follows on a name"));
        assert!(error("a=\"x").contains("begins with a quote"));
        assert!(error("a=\"x\"y").contains("begins with a quote"));
        assert!(error(&format!("{}a=1", "a.".repeat(64))).contains("64 levels"));
        assert!(DataCondition::new("a=b", "x").is_err());
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3i64).prop_map(Value::from),
            Just(json!(0.5)),
            "[a1.=\"]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a01.=\"]{0,2}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every scalar below `at`, with the condition that finds it.
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
        let below =
            |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        match value {
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(n, v)| leaves(&below(&n.to_string()), v, found));
            }
            Value::Object(all) => {
                all.iter().for_each(|(name, v)| leaves(&below(&quoted(name)), v, found));
            }
            leaf if !at.is_empty() => found.push(format!("{at}={leaf}")),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_scalar_is_found_by_its_own_path(data in tree()) {
            let mut conditions = Vec::new();
            leaves("", &data, &mut conditions);
            for condition in conditions {
                prop_assert!(holds(&condition, &data.to_string()), "{condition} in {data}");
            }
        }
    }
}
