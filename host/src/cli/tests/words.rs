//! What people read and type.

use std::time::Duration;

use owo_colors::Style;
use serde_json::json;

use super::{
    super::{
        answers::{Plugin, Status},
        events,
        output::{Colours, json_line, json_pretty, plain},
        progress,
        range::{Bound, bound},
        sender::Trouble,
        table::{Cell, Table, cut, figures, text},
        tail::line,
        tally::{Tally, shape, thousands},
        times::{clock, parse_span, parse_when},
    },
    entry,
};
use std::time::Instant;

#[test]
fn reasons_that_differ_in_ids_and_numbers_are_one() {
    for (reason, expected) in [
        (
            "duplicate of 0198f2c0-7a52-7000-8000-3c6a0f6f1e11 within 60 s",
            "duplicate of … within … s",
        ),
        ("duplicate of f198f2c0-7a52-7000-8000-3c6a0f6f1e11.", "duplicate of …."),
        ("more than 20/min from s-0042: dropped", "more than …/min from s-…: dropped"),
        ("took 1.25ms, (limit=1,000)", "took …, (limit=…)"),
        ("matches ennio.sessions.*.working", "matches ennio.sessions.*.working"),
        ("a b c d e f g h i j k l m n", "a b c d e f g h i j k l …"),
        ("", ""),
    ] {
        assert_eq!(shape(reason), expected);
    }
}

#[test]
fn a_time_is_absolute_or_a_span_back_from_now() {
    let now = "2026-08-01T09:30:00Z".parse().unwrap();
    for (text, expected) in [
        ("15m", "2026-08-01T09:15:00.000000Z"),
        ("2h", "2026-08-01T07:30:00.000000Z"),
        ("7d", "2026-07-25T09:30:00.000000Z"),
        ("1w", "2026-07-25T09:30:00.000000Z"),
        ("0s", "2026-08-01T09:30:00.000000Z"),
        ("2026-07-31T23:00:00+02:00", "2026-07-31T21:00:00.000000Z"),
    ] {
        assert_eq!(parse_when(text, now).unwrap().to_string(), expected, "{text}");
    }
    for (text, part) in [
        ("15", "a span needs a unit (write a number and a unit"),
        ("15x", "\"x\" is no unit of time"),
        ("m", "a span begins with a number"),
        ("9999999w", "is before the year 0"),
        ("99999999999999999999d", "a span begins with a number"),
        ("2026-07-31", "must be an RFC 3339 time"),
        ("yesterday", "no unit of time"),
        ("", "a span needs a unit"),
        ("-1h", "must be an RFC 3339 time"),
    ] {
        let error = parse_when(text, now).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert_eq!(parse_span("250ms").unwrap(), Duration::from_millis(250));
}

#[test]
fn an_end_of_a_range_is_a_place_or_a_time() {
    let now = "2026-08-01T09:30:00Z".parse().unwrap();
    assert_eq!(bound("1200", now), Ok(Bound::Place(1200)));
    let time = |text: &str| Ok(Bound::Time(text.parse().unwrap()));
    assert_eq!(bound("2h", now), time("2026-08-01T07:30:00Z"));
    assert_eq!(bound("2026-07-31T23:00:00+02:00", now), time("2026-07-31T21:00:00Z"));
    for (text, part) in [
        ("", "or a place in the log: 1200"),
        ("99999999999999999999", "is no place in a log"),
        ("7 d", "or a place in the log"),
    ] {
        let error = bound(text, now).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_line_of_progress_says_how_far_how_fast_and_how_long_yet() {
    let line = |first, at, took| progress::line("importing", first, at, 3416, took);
    assert_eq!(
        line(0, 1200, Duration::from_secs(3)),
        "importing: seq 1,200 of 3,416, 400/s, 6 s left"
    );
    assert_eq!(
        line(1000, 1200, Duration::from_secs(2)),
        "importing: seq 1,200 of 3,416, 100/s, 23 s left"
    );
    assert_eq!(line(7, 7, Duration::ZERO), "importing: seq 7 of 3,416");
}

#[test]
fn nothing_that_a_sender_wrote_drives_the_terminal() {
    let hostile = "\x1b]0;owned\x07\x1b[2J\r\n\u{9b}31m\u{202e}txt\x7f ünïcode 日本";
    let event = entry(json!({"message": hostile, "session_id": hostile, "event_type": hostile,
        "priority": hostile, "timestamp": hostile, "dropped_by": hostile, "drop_reason": hostile}));
    let listed = events::table(std::slice::from_ref(&event), Colours::none()).lines(None, None);
    let whole = events::whole(&event, Colours::none());
    for shown in [vec![line(&event, Colours::none())], listed, whole].concat() {
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert!(!shown.contains("ünïcode") || shown.contains("日本"), "{shown:?}");
    }
    assert_eq!(plain("a\tb\x1b[0m"), "a\\tb\\u{1b}[0m");
}

#[test]
fn json_stays_the_same_value_on_one_line() {
    let json = "{\n  \"a\\\\\": \"\u{9b}2J \u{202e} é \\\"\",\r\n\t\"n\": 1.10e400 }";
    let line = json_line(json);
    assert_eq!(line, "{   \"a\\\\\": \"\\u009b2J \\u202e é \\\"\",   \"n\": 1.10e400 }");
    let pretty = json_pretty(r#"{"a":[],"b":{},"c":[1.10,{"d":"x: [1, 2] \" \\"}],"e":null}"#);
    assert_eq!(
        pretty,
        "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1.10,\n    {\n      \"d\": \"x: [1, 2] \\\" \\\\\"\n    }\n  ],\n  \"e\": null\n}"
    );
    assert_eq!(json_pretty("null"), "null");
}

#[test]
fn an_event_is_one_line_that_names_who_dropped_it() {
    let time = clock("2026-08-01T09:30:00.000000Z");
    assert_eq!(
        line(&entry(json!({})), Colours::none()),
        format!("{time} urgent   ennio.ci.atlas.failing s-1 unit tests fail")
    );
    let dropped = entry(json!({"dropped_by": "noise-filter", "drop_reason": "seen before"}));
    assert_eq!(
        line(&dropped, Colours::none()),
        format!(
            "{time} urgent   ennio.ci.atlas.failing s-1 [dropped by noise-filter: seen before] unit tests fail"
        )
    );
    let node = entry(json!({"event_type": "node_launched", "data": {"host": "build-01"}}));
    assert!(line(&node, Colours::none()).contains(" ennio.node.build-01.launched "));
    let newer = entry(json!({"event_type": "dreams_dreamt", "priority": "apocalyptic"}));
    assert!(line(&newer, Colours::none()).contains("apocalyptic dreams_dreamt s-1"));
    assert!(line(&entry(json!({})), Colours::all()).contains("\x1b["));
}

#[test]
fn a_table_fits_the_window_by_cutting_its_widest_columns() {
    let mut table = Table::new([figures("SEQ"), text("WHAT"), text("MESSAGE")]);
    table.row([Cell::new(7), Cell::new("short"), Cell::new("日本日本日本日本日本日本")]);
    table.row([Cell::new(1234), Cell::new("a longer one"), Cell::new("tail")]);
    table.under(Cell::new("why this is so, at some length"));
    assert_eq!(
        table.lines(Some(Style::new()), None),
        [
            " SEQ  WHAT          MESSAGE",
            "   7  short         日本日本日本日本日本日本",
            "1234  a longer one  tail",
            "    why this is so, at some length",
        ]
    );
    assert_eq!(
        table.lines(None, Some(30)),
        [
            "   7  short        日本日本日…",
            "1234  a longer o…  tail",
            "    why this is so, at some l…",
        ]
    );
    // No window is so narrow that nothing can be read.
    assert_eq!(table.lines(None, Some(3))[1], "1234  a longe…  tail");
    assert_eq!(cut("日本", 4), "日本");
    assert_eq!(cut("日本", 3), "日…");
    assert_eq!(cut("日本", 2), "…");
}

#[test]
fn a_host_that_is_away_is_waited_for_as_long_as_patience_lasts() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut trouble = Trouble::new(start, Duration::from_millis(500));
    let first = trouble.next_wait(at(0)).unwrap();
    assert!((100..=200).contains(&first.as_millis()), "{first:?}");
    assert_eq!(trouble.next_wait(at(499)).unwrap(), Duration::from_millis(1));
    assert_eq!(trouble.next_wait(at(500)), None);
    assert_eq!(Trouble::new(start, Duration::ZERO).next_wait(start), None);
}

#[test]
fn a_summary_can_be_read_by_a_person() {
    let mut tally = Tally::default();
    for seq in 1..=3 {
        tally.add(&entry(
            json!({"seq": seq, "timestamp": format!("2026-08-01T09:3{seq}:00.000000Z")}),
        ));
    }
    tally.add(&entry(
        json!({"event_type": "merge_ready", "priority": "action", "project_id": "zeta",
        "caused_by": {"event_id": "x", "plugin": "merge-ready"}}),
    ));
    for seconds in [30, 60] {
        tally.add(&entry(json!({"dropped_by": "noise-filter",
            "drop_reason": format!("duplicate of 0198f2c0-7a52-7000-8000-3c6a0f6f1e11 within {seconds} s")})));
    }
    let plugins = [
        Plugin {
            name: "ci-triage".into(),
            roles: vec!["enricher".into()],
            events: 4000,
            events_changed: 57,
            ..Plugin::default()
        },
        Plugin { name: "noise-filter".into(), roles: vec!["filter".into()], ..Plugin::default() },
    ];
    let status = Status { head: 6, dead_letters: 1, ..Status::default() };
    let page = tally.page("http://h:1", " --url http://h:1", &plugins, &status, Colours::none());
    let (head, rest) = page.split_first().unwrap();
    assert!(head.starts_with("6 events at http://h:1, happened from "), "{head}");
    assert_eq!(
        rest.join("\n"),
        "
Fate
  4  accepted
  2  dropped       kept in the log, hidden by a filter
  1  dead letters  reactions that were given up

Dropped by noise-filter
  2  duplicate of … within … s

Accepted, by category
  3  ci
  1  merge

Accepted, by priority
  1  action
  3  urgent

Accepted, by project (2 in all)
  3  atlas
  1  zeta

Enriched, since the plugin was loaded
  57  ci-triage  changed, of 4,000 seen

Reactions
  1  merge-ready emitted merge_ready

Where to look next
  ennio tail 'ennio.ci.>' --url http://h:1         follow CI of all projects
  ennio events --min-priority urgent --url http://h:1 what needs a person at once (3)
  ennio events --subject 'ennio.merge.*.ready' --url http://h:1 what plugins did (merge-ready and others)
  ennio events --include-dropped --url http://h:1  also what was dropped (2)
  ennio plugin list --url http://h:1               the plugins and what they cost
  http://h:1/v1/events?order=desc as JSON"
    );
    let nothing = Tally::default().page("u", "", &[], &Status::default(), Colours::none());
    assert_eq!(nothing[0], "no events at u yet");
    assert_eq!(thousands(1_234_567), "1,234,567");
    assert_eq!(thousands(999), "999");
}
