use proptest::prelude::*;
use serde_json::json;

use super::*;

fn error(json: serde_json::Value) -> String {
    Draft::parse(json.to_string().as_bytes()).unwrap_err().to_string()
}

fn minimal() -> serde_json::Value {
    json!({"event_type": "ci_failing", "session_id": "s-1", "project_id": "atlas"})
}

fn with(field: &str, value: serde_json::Value) -> serde_json::Value {
    let mut event = minimal();
    event[field] = value;
    event
}

#[test]
fn an_event_that_came_in_for_a_project_is_of_that_project_or_none() {
    let atlas: ProjectId = "atlas".parse().unwrap();
    let silent = serde_json::json!({"event_type": "pr_created", "session_id": "s"}).to_string();
    let read = Draft::parse_for(silent.as_bytes(), &atlas).unwrap();
    assert_eq!(read.project_id, atlas);
    let said = silent.replacen('{', "{\"project_id\":\"atlas\",", 1);
    assert_eq!(
        Draft::parse_for(said.as_bytes(), &atlas).unwrap(),
        read,
        "said or not, the same event"
    );
    let other = said.replace("atlas", "billing");
    let error = Draft::parse_for(other.as_bytes(), &atlas).unwrap_err().to_string();
    assert!(
        error.starts_with("project_id: is \"billing\", but") && error.contains("\"atlas\""),
        "{error}"
    );
    let error = Draft::parse_for(b"{}", &atlas).unwrap_err().to_string();
    assert_eq!(error, "event_type: missing (every event needs it)");
}

#[test]
fn a_message_of_a_stream_gives_one_id_and_no_other_message_gives_it() {
    let of = EventId::of_message;
    assert_eq!(of("ENNIO_INGEST of 1", 7), of("ENNIO_INGEST of 1", 7));
    assert_ne!(of("ENNIO_INGEST of 1", 7), of("ENNIO_INGEST of 1", 8));
    assert_ne!(of("ENNIO_INGEST of 1", 7), of("ENNIO_INGEST of 2", 7), "a stream made anew");
}

#[test]
fn a_sender_may_leave_out_what_has_a_default() {
    let draft = Draft::parse(minimal().to_string().as_bytes()).unwrap();
    let now = Timestamp::now();
    let event = draft.into_event(now);
    assert_eq!(event.priority, EventPriority::Info);
    assert_eq!(event.timestamp, now);
    assert_eq!(event.message.as_str(), "");
    assert_eq!(event.data.as_str(), "null");
    assert_eq!(event.subject().as_str(), "ennio.ci.atlas.failing");
}

#[test]
fn an_error_names_the_field_the_reason_and_the_way_out() {
    assert_eq!(
        error(with("event_type", json!("ci_failng"))),
        "event_type: unknown event type \"ci_failng\" (did you mean `ci_failing`?)"
    );
    assert_eq!(
        error(with("project_id", json!("a.b"))),
        "project_id: holds '.', only [A-Za-z0-9_-] is allowed"
    );
    assert_eq!(
        error(with("prioritty", json!("info"))),
        "prioritty: no such field (did you mean `priority`?)"
    );
    assert!(
        error(with("colour", json!("red"))).starts_with("colour: no such field (an event has id,")
    );
    assert_eq!(
        error(with("seq", json!(7))),
        "seq: set by the host, never by a sender (leave it out)"
    );
    assert_eq!(error(with("message", json!(7))), "message: must be a string");
    assert_eq!(
        error(json!({"event_type": "ci_failing", "session_id": "s"})),
        "project_id: missing (every event needs it)"
    );
    assert_eq!(error(json!([])), "body: must be a JSON object, one event");
    assert!(
        error(with("timestamp", json!("yesterday")))
            .starts_with("timestamp: must be an RFC 3339 time")
    );
    assert!(error(with("id", json!("7"))).starts_with("id: must be a UUID of 36 characters"));
    let twice = br#"{"session_id":"a","session_id":"b"}"#;
    assert_eq!(Draft::parse(twice).unwrap_err().to_string(), "session_id: given twice");
    let broken = Draft::parse(b"{\"session_id\":").unwrap_err();
    assert!(broken.to_string().starts_with("body: not valid JSON: EOF"), "{broken}");
    let trailing = Draft::parse(format!("{} x", minimal()).as_bytes()).unwrap_err();
    assert!(trailing.to_string().starts_with("body: not valid JSON"), "{trailing}");
}

#[test]
fn every_bound_holds_at_its_edge_and_breaks_one_past_it() {
    let parse = |event: serde_json::Value| Draft::parse(event.to_string().as_bytes());
    for (field, limit) in [("session_id", 128), ("project_id", 64), ("message", MAX_MESSAGE_BYTES)]
    {
        assert!(parse(with(field, json!("x".repeat(limit)))).is_ok(), "{field} of {limit}");
        let error = parse(with(field, json!("x".repeat(limit + 1)))).unwrap_err();
        assert_eq!(error.field, field);
        assert!(matches!(error.reason, Reason::TooLong { .. }), "{error}");
    }
    assert!(parse(with("data", json!("x".repeat(MAX_DATA_BYTES - 2)))).is_ok());
    assert!(matches!(
        parse(with("data", json!("x".repeat(MAX_DATA_BYTES - 1)))).unwrap_err().reason,
        Reason::TooLong { limit: MAX_DATA_BYTES, .. }
    ));
    let nested = |levels: usize| {
        let body = minimal().to_string();
        let data = "[".repeat(levels) + &"]".repeat(levels);
        Draft::parse(format!("{},\"data\":{data}}}", &body[..body.len() - 1]).as_bytes())
    };
    assert!(nested(MAX_DATA_DEPTH).is_ok());
    for levels in [65, 127, 128, 129, 100_000] {
        let error = nested(levels).unwrap_err();
        assert_eq!(error.to_string(), "data: nested deeper than 64 levels", "{levels}");
    }
}

#[test]
fn data_keeps_its_bytes_and_loses_only_white_space_between_tokens() {
    let sent = "{ \"b\" : 9007199254740993,\n\t\"a\": [1.0, 1e2, \" \\\" { \"] }";
    let data: Data = sent.parse().unwrap();
    assert_eq!(data.as_str(), r#"{"b":9007199254740993,"a":[1.0,1e2," \" { "]}"#);
    for bad in [r#""\ud800""#, "1e400", "NaN", "[1,]", "", "{\"a\"}", "1 2", "\"a\nb\""] {
        assert!(bad.parse::<Data>().is_err(), "{bad}");
    }
}

#[test]
fn a_merge_patch_follows_rfc_7396() {
    // The cases of the RFC's appendix A.
    for (target, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, "\"bar\"", "\"bar\""),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        let merged = target.parse::<Data>().unwrap().merged(patch).unwrap();
        assert_eq!(merged.as_str(), result, "{target} + {patch}");
    }
}

#[test]
fn a_merge_patch_keeps_what_it_does_not_name_to_the_byte() {
    for (target, patch, result) in [
        (
            r#"{"a\u0062":1.50,"b":-0,"c":[1e2]}"#,
            r#"{"b":1}"#,
            r#"{"a\u0062":1.50,"b":1,"c":[1e2]}"#,
        ),
        (r#"{"a":1}"#, r#"{"\u0061":2}"#, r#"{"a":2}"#),
        (r#"{"a":1,"b":2,"a":{"x":3}}"#, r#"{"a":{"y":4}}"#, r#"{"a":{"x":3,"y":4},"b":2}"#),
        (r#"{"b":2,"b":3}"#, r#"{"a":1}"#, r#"{"b":2,"b":3,"a":1}"#),
        (r#"{"b":2}"#, r#"{"b":1,"b":null}"#, "{}"),
    ] {
        let merged = target.parse::<Data>().unwrap().merged(patch).unwrap();
        assert_eq!(merged.as_str(), result, "{target} + {patch}");
    }
}

/// The pseudocode of RFC 7396.
fn merge_patch(target: &mut serde_json::Value, patch: &serde_json::Value) {
    let Some(changes) = patch.as_object() else { return *target = patch.clone() };
    if !target.is_object() {
        *target = serde_json::json!({});
    }
    let object = target.as_object_mut().unwrap();
    for (name, change) in changes {
        match change.is_null() {
            true => drop(object.remove(name)),
            false => merge_patch(object.entry(name).or_insert(serde_json::Value::Null), change),
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[a\"\\\\é\n]{0,3}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let object = prop::collection::btree_map("[ab\"\\\\]{1,2}", inner.clone(), 0..4);
        prop_oneof![
            3 => object.prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            1 => prop::collection::vec(inner, 0..3).prop_map(Into::into),
        ]
    })
}

proptest! {
    #[test]
    fn a_merge_of_texts_is_the_merge_of_values(target in json(), patch in json()) {
        let merged = target.to_string().parse::<Data>().unwrap().merged(&patch.to_string()).unwrap();
        let again: Data = merged.as_str().parse().unwrap();
        prop_assert_eq!(&again, &merged, "compact and within bounds");
        let mut expected = target;
        merge_patch(&mut expected, &patch);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(merged.as_str()).unwrap(), expected);
    }
}

#[test]
fn a_retry_has_the_same_digest_and_other_content_another() {
    let parse = |text: &str| Draft::parse(text.as_bytes()).unwrap();
    let sent = r#"{"event_type":"ci_failing","session_id":"s","project_id":"p","data":{"a":1}}"#;
    let respaced =
        r#"{ "project_id": "p", "data": {"a": 1}, "session_id":"s","event_type":"CiFailing"}"#;
    assert_eq!(parse(sent).digest(), parse(respaced).digest());
    for other in [
        r#"{"event_type":"ci_failing","session_id":"s","project_id":"p","data":{"a":2}}"#,
        r#"{"event_type":"ci_failing","session_id":"s","project_id":"p","data":{"a":1},"message":""}"#,
        r#"{"event_type":"ci_failing","session_id":"s","project_id":"p"}"#,
        r#"{"event_type":"ci_passing","session_id":"s","project_id":"p","data":{"a":1}}"#,
    ] {
        assert_ne!(parse(sent).digest(), parse(other).digest(), "{other}");
    }
}

#[test]
fn every_type_has_a_subject_of_its_category() {
    for event_type in EventType::BUILT_IN {
        let read: EventType = event_type.as_str().parse().unwrap();
        assert_eq!(read, event_type);
        assert_eq!(format!("{event_type:?}").parse::<EventType>().unwrap(), event_type);
        let subject = Subject::of(&event_type, &"p".parse().unwrap(), &Data::default());
        let shape = match event_type.category() {
            Category::Lifecycle => format!("ennio.lifecycle.{}", event_type.action()),
            category => format!("ennio.{}.*.{}", category.token(), event_type.action()),
        };
        assert!(shape.parse::<SubjectPattern>().unwrap().matches(&subject), "{shape} {subject}");
        assert_eq!(subject.as_str().parse::<Subject>().unwrap(), subject);
    }
}

#[test]
fn a_node_event_is_named_for_its_host_when_that_is_a_token() {
    for (data, owner) in [
        (r#"{"host":"build-01"}"#, "build-01"),
        (r#"{"host":"build.example.org"}"#, "atlas"),
        (r#"{"host":">"}"#, "atlas"),
        (r#"{"host":7}"#, "atlas"),
        ("null", "atlas"),
    ] {
        let subject = Subject::of(
            &EventType::NodeConnected,
            &"atlas".parse().unwrap(),
            &data.parse().unwrap(),
        );
        assert_eq!(subject.as_str(), format!("ennio.node.{owner}.connected"));
    }
}

#[test]
fn a_bad_pattern_is_refused_with_the_token_at_fault() {
    for (pattern, part) in [
        ("", "token 1 is empty"),
        ("ennio..x", "token 2 is empty"),
        ("ennio.>.x", "token 2 is `>`, which only the last token may be"),
        ("ennio.c*", "token 2 holds '*'"),
        ("ennio.ci .x", "token 2 holds ' '"),
        ("ennio.é", "token 2 holds 'é'"),
    ] {
        let error = pattern.parse::<SubjectPattern>().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn any_type() -> impl Strategy<Value = EventType> {
    prop_oneof![
        (0..30usize).prop_map(|at| EventType::BUILT_IN[at].clone()),
        "custom\\.[A-Za-z0-9_-]{1,64}".prop_map(|name| name.parse().unwrap()),
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn any_event()(
        event_type in any_type(),
        priority in 0..4usize,
        session in "[A-Za-z0-9_.:-]{1,128}",
        project in "[A-Za-z0-9_-]{1,64}",
        micros in -62_167_219_200_000_000i64..253_402_300_800_000_000,
        message in "[^\\x00]{0,200}",
        data in any_json(),
    ) -> Event {
        Event {
            id: EventId::mint(),
            event_type,
            priority: EventPriority::ALL[priority],
            session_id: session.parse().unwrap(),
            project_id: project.parse().unwrap(),
            timestamp: Timestamp::from_micros(micros).unwrap(),
            message: message.parse().unwrap(),
            data: data.to_string().parse().unwrap(),
        }
    }
}

proptest! {
    #[test]
    fn an_event_survives_a_round_trip_through_json(event in any_event()) {
        let json = serde_json::to_string(&event).unwrap();
        prop_assert!(!json.contains(['\n', '\r']), "an event is one line");
        let read = Draft::parse(json.as_bytes()).unwrap().into_event(Timestamp::now());
        prop_assert_eq!(read, event);
    }

    #[test]
    fn an_entry_is_read_back_from_its_json(
        event in any_event(),
        seq in 1..u64::from(u32::MAX),
        cause in prop::option::of("[A-Za-z0-9_-]{1,64}"),
        dropped in prop::option::of(any::<String>()),
    ) {
        let caused_by =
            cause.map(|plugin| Cause { event_id: event.id, plugin: plugin.parse().unwrap() });
        let dropped = dropped.map(|reason| Dropped { by: "noise".parse().unwrap(), reason });
        let subject = event.subject();
        let entry = LogEntry::new(seq, event, subject, caused_by, 3, dropped, Timestamp::now());
        let read = LogEntry::parse(entry.json()).unwrap();
        prop_assert_eq!(read.json(), entry.json());
        prop_assert_eq!(&read.subject, &entry.subject);
        let newer = entry.json().replacen('{', "{\"of_a_later_host\":[7],", 1);
        let read = LogEntry::parse(&newer).unwrap();
        prop_assert_eq!(read.json(), entry.json());
    }

    #[test]
    fn no_input_yields_a_subject_that_means_something_else(
        type_name in prop_oneof![any::<String>(), "custom\\.\\PC{0,20}", "[a-z_]{0,20}"],
        project in prop_oneof![any::<String>(), "[A-Za-z0-9_.*>-]{0,70}"],
        host in prop_oneof![any::<String>(), "[A-Za-z0-9_.*> \\r\\n-]{0,70}"],
        node in any::<bool>(),
    ) {
        let json = json!({
            "event_type": if node { "node_launched".to_owned() } else { type_name },
            "session_id": "s",
            "project_id": project,
            "data": {"host": host},
        });
        if let Ok(draft) = Draft::parse(json.to_string().as_bytes()) {
            let category = draft.event_type.category();
            let subject = draft.into_event(Timestamp::now()).subject();
            let tokens: Vec<&str> = subject.as_str().split('.').collect();
            prop_assert_eq!(tokens.len(), if category == Category::Lifecycle { 3 } else { 4 });
            prop_assert_eq!(tokens[..2].to_vec(), vec!["ennio", category.token()]);
            for token in tokens {
                prop_assert!(!token.is_empty());
                prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Draft::parse(&bytes);
    }
}
