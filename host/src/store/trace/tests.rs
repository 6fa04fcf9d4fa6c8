use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::{
    event::{Cause, Dropped, EventId, EventRef, EventType, LogEntry},
    store::{
        Attempt, Batch, DeadLetter, Effect, NewEntry, Observer, OnCommit, Place, Store, Waiting,
        tests::entry,
    },
};

struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("ennio.db"), Deaf).unwrap()
}

async fn commit(store: &Store, entries: Vec<NewEntry>) -> Vec<Arc<LogEntry>> {
    let (answer, outcome) = oneshot::channel();
    let done: OnCommit = Box::new(move |result| drop(answer.send(result)));
    store.submit(Batch { entries, effects: vec![], state: vec![], done }).await;
    outcome.await.unwrap().unwrap()
}

fn failing() -> NewEntry {
    entry(EventType::CiFailing, "atlas", "s-1")
}

async fn told(store: &Store, seq: Seq) -> Value {
    let trace = store.reader().trace(EventRef::Seq(seq)).await.unwrap();
    serde_json::to_value(trace).unwrap()
}

fn name(plugin: &str) -> PluginName {
    plugin.parse().unwrap()
}

fn member(plugin: &str, role: Role, pattern: &str, min_priority: EventPriority) -> Member {
    Member {
        plugin: name(plugin),
        role,
        version: "1.0.0".into(),
        hash: format!("hash of {plugin}").into(),
        order: 50,
        subscribe: vec![pattern.parse().unwrap()],
        min_priority,
    }
}

fn step(plugin: &str, role: Role, did: Did) -> Step {
    let version = format!("hash of {plugin}").into();
    Step { plugin: name(plugin), role, version, took: Duration::from_nanos(1_500), did }
}

fn change(patch: &str, was_priority: Option<EventPriority>) -> Did {
    Did::Changed(Change { patch: patch.into(), was_priority, was_subject: None })
}

fn called(message: &str) -> Called {
    let line = Line { level: "info".into(), context: String::new(), message: message.into() };
    Called { version: "hash".into(), took: Duration::from_micros(7), said: vec![line], unsaid: 2 }
}

/// Each plugin and its outcome.
fn outcomes(story: &Value, member: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = story[member].as_array().unwrap().iter();
    all.map(|one| (text(&one["plugin"]), text(&one["outcome"]))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
}

#[tokio::test]
async fn who_kept_an_event_follows_from_the_lineup_and_what_the_event_was_then() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let lineup = Arc::new(Lineup::new(&[
        member("noise", Role::Filter, "ennio.>", EventPriority::Info),
        member("deaf", Role::Filter, "ennio.pr.>", EventPriority::Info),
        member("early", Role::Enricher, "ennio.>", EventPriority::Urgent),
        member("raise", Role::Enricher, "ennio.ci.>", EventPriority::Info),
        member("late", Role::Enricher, "ennio.>", EventPriority::Urgent),
    ]));
    let mut raised = failing();
    raised.event.priority = EventPriority::Urgent;
    raised.passage.lineup = Some(Arc::clone(&lineup));
    let patch = r#"{"priority":"urgent","data":{"a":{"b":1,"odd key":null},"c":[1]}}"#;
    raised.passage.steps =
        vec![step("raise", Role::Enricher, change(patch, Some(EventPriority::Info)))];
    let mut plain = failing();
    plain.passage.lineup = Some(lineup);
    commit(&store, vec![raised, plain]).await;

    let story = told(&store, 1).await;
    let expected = pairs(&[("noise", "kept"), ("raise", "changed"), ("late", "kept")]);
    assert_eq!(outcomes(&story, "pipeline"), expected, "it became urgent only then");
    let raise = &story["pipeline"][1];
    assert_eq!(raise["took_us"], 1.5);
    assert_eq!((&raise["version"], &raise["hash"]), (&json!("1.0.0"), &json!("hash of raise")));
    assert_eq!(
        raise["changes"],
        json!([
            {"path": "priority", "from": "info", "to": "urgent"},
            {"path": "data.a.b", "to": 1},
            {"path": "data.a[\"odd key\"]", "removed": true},
            {"path": "data.c", "to": [1]},
        ])
    );
    let expected = pairs(&[("noise", "kept"), ("raise", "kept")]);
    assert_eq!(outcomes(&told(&store, 2).await, "pipeline"), expected);
}

#[tokio::test]
async fn a_lineup_is_written_once_until_it_changes_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let lineup = |plugins: &[&str]| {
        let members: Vec<Member> = plugins
            .iter()
            .map(|plugin| member(plugin, Role::Filter, "ennio.>", EventPriority::Info))
            .collect();
        Some(Arc::new(Lineup::new(&members)))
    };
    let with = |lineup: &Option<Arc<Lineup>>| {
        let mut new = failing();
        new.passage.lineup.clone_from(lineup);
        new
    };
    let store = open(&folder);
    let (one, two) = (lineup(&["one"]), lineup(&["one", "two"]));
    commit(&store, vec![with(&one), with(&one), with(&two)]).await;
    commit(&store, vec![with(&lineup(&["one", "two"]))]).await;
    // What is refused leaves nothing behind.
    let mut again = with(&one);
    again.event.id = store.reader().at(1).await.unwrap().unwrap().event.id;
    let (answer, outcome) = oneshot::channel();
    let done: OnCommit = Box::new(move |result| drop(answer.send(result.map(drop))));
    store.submit(Batch { entries: vec![again], effects: vec![], state: vec![], done }).await;
    outcome.await.unwrap().unwrap_err();
    commit(&store, vec![with(&two)]).await;
    store.close().await;
    drop(store);

    let store = open(&folder);
    commit(&store, vec![with(&lineup(&["one", "two"])), with(&one)]).await;
    let db = rusqlite::Connection::open(store.path()).unwrap();
    let mut find = db.prepare("SELECT from_seq FROM lineups ORDER BY from_seq").unwrap();
    let places: Result<Vec<i64>, _> = find.query_map([], |row| row.get(0)).unwrap().collect();
    assert_eq!(places.unwrap(), [1, 3, 7]);
    for (seq, count) in [(1, 1), (2, 1), (3, 2), (6, 2), (7, 1)] {
        assert_eq!(told(&store, seq).await["pipeline"].as_array().unwrap().len(), count, "{seq}");
    }
}

#[tokio::test]
async fn nobody_behind_a_drop_saw_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let lineup = Arc::new(Lineup::new(&[
        member("first", Role::Filter, "ennio.>", EventPriority::Info),
        member("noise", Role::Filter, "ennio.>", EventPriority::Info),
        member("last", Role::Enricher, "ennio.>", EventPriority::Info),
    ]));
    let mut entries = Vec::new();
    for did in [Did::Dropped, Did::Failed("trapped: oh".into())] {
        let mut dropped = failing();
        dropped.dropped = Some(Dropped { by: name("noise"), reason: "because".into() });
        dropped.passage.lineup = Some(Arc::clone(&lineup));
        let failed = step("first", Role::Filter, Did::Failed("failed: no".into()));
        dropped.passage.steps = vec![failed, step("noise", Role::Filter, did)];
        entries.push(dropped);
    }
    commit(&store, entries).await;
    let story = told(&store, 1).await;
    assert_eq!(outcomes(&story, "pipeline"), pairs(&[("first", "failed"), ("noise", "dropped")]));
    assert_eq!(story["pipeline"][0]["error"], "failed: no");
    assert_eq!(story["pipeline"][1]["reason"], "because");
    let story = told(&store, 2).await;
    let expected = pairs(&[("first", "failed"), ("noise", "failed_dropped")]);
    assert_eq!(outcomes(&story, "pipeline"), expected);
    assert_eq!(story["pipeline"][1]["error"], "trapped: oh");
    assert!(told(&store, 3).await.is_null());
}

#[tokio::test]
async fn a_call_is_told_of_its_own_events_and_of_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let lineup =
        Arc::new(Lineup::new(&[member("loud", Role::Filter, "ennio.>", EventPriority::Info)]));
    let call = |span, events, error: Option<&str>, message: &str| PluginCall {
        plugin: name("loud"),
        role: Role::Filter,
        span,
        events,
        called: Called { version: message.into(), ..called(message) },
        error: error.map(str::to_owned),
    };
    let mut entries: Vec<NewEntry> = (0..6).map(|_| failing()).collect();
    entries.iter_mut().for_each(|new| new.passage.lineup = Some(Arc::clone(&lineup)));
    entries[1].passage.calls =
        vec![call(2, 3, None, "answered"), call(1, 2, Some("trapped: x"), "left")];
    entries[4].passage.calls = vec![call(0, 1, None, "alone")];
    commit(&store, entries).await;
    for (seq, expected) in [
        (1, &[][..]),
        (2, &["left", "answered"]),
        (3, &["left", "answered"]),
        (4, &["answered"]),
        (5, &["alone"]),
        (6, &[]),
    ] {
        let story = told(&store, seq).await;
        let calls = story["pipeline"][0]["calls"].as_array().cloned().unwrap_or_default();
        let said: Vec<&str> =
            calls.iter().map(|call| call["said"][0]["message"].as_str().unwrap()).collect();
        assert_eq!(said, expected, "{seq}");
    }
    let calls = told(&store, 2).await["pipeline"][0]["calls"].clone();
    assert_eq!(calls[0]["error"], "trapped: x");
    assert_eq!(
        calls[1],
        json!({
            "first_seq": 2, "last_seq": 4, "events": 3, "hash": "answered", "took_us": 7.0,
            "said": [{"level": "info", "context": "", "message": "answered"}], "unsaid": 2,
        })
    );
}

fn reacts(plugin: &str, from: Seq) -> Effect {
    let mut member = member(plugin, Role::Reaction, "ennio.ci.>", EventPriority::Info);
    member.hash = format!("{plugin} from {from}").into();
    Effect::Reacts { from, member }
}

fn moved(plugin: &str, seq: Seq) -> Effect {
    Effect::MoveCursor { name: format!("reaction/{plugin}"), seq }
}

fn attempt(number: u32) -> Attempt {
    let at = Timestamp::from_micros(1_000_000).unwrap();
    Attempt { number, at, error: format!("error {number}"), called: Some(called("why")) }
}

#[tokio::test]
async fn each_end_of_a_reaction_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let entries = commit(&store, (0..7).map(|_| failing()).collect()).await;
    let wait = |event_seq, number| {
        let next = Timestamp::from_micros(77).unwrap();
        let failed = Some(attempt(number));
        Effect::Wait(Waiting { plugin: name("hook"), event_seq, attempts: number, next, failed })
    };
    let bury = |seq: usize| {
        Effect::DeadLetter(DeadLetter {
            plugin: name("hook"),
            event_seq: entries[seq - 1].seq,
            event_id: entries[seq - 1].event.id,
            failed: attempt(1),
        })
    };
    let reacted = Effect::Reacted(Reacted {
        plugin: name("hook"),
        event_seq: 3,
        attempt: 3,
        at: Timestamp::from_micros(99).unwrap(),
        called: called("done"),
        emitted: 0,
        commands: vec!["plugin_disable noise".into()],
    });
    let settled = Effect::Settle { plugin: name("hook"), event_seq: 3 };
    store.apply(vec![reacts("hook", 2), moved("hook", 6)]).await.unwrap();
    store.apply(vec![wait(3, 1), wait(3, 2), wait(4, 1), bury(5), bury(6)]).await.unwrap();
    store.apply(vec![settled, reacted, Effect::DiscardDeadLetter(2)]).await.unwrap();

    let mut found = Vec::new();
    for seq in 1..=7 {
        found.push(told(&store, seq).await["reactions"][0].clone());
    }
    assert_eq!(found[0], Value::Null, "it was not there yet");
    let outcome = |seq: usize| found[seq - 1]["outcome"].as_str().unwrap();
    assert_eq!(
        [2, 3, 4, 5, 6, 7].map(outcome),
        ["done", "done", "waiting", "dead_letter", "discarded", "pending"]
    );
    assert_eq!(found[1]["at"], Value::Null, "there was nothing to do");
    let done = &found[2];
    assert_eq!((&done["attempt"], &done["took_us"]), (&json!(3), &json!(7.0)));
    assert_eq!(done["commands"], json!(["plugin_disable noise"]));
    assert_eq!(done["hash"], "hash");
    let errors: Vec<_> =
        done["failed_attempts"].as_array().unwrap().iter().map(|a| a["error"].clone()).collect();
    assert_eq!(errors, ["error 1", "error 2"]);
    assert_eq!(done["failed_attempts"][0]["said"][0]["message"], "why");
    assert_eq!(found[3]["next_at"], "1970-01-01T00:00:00.000077Z");
    assert_eq!(found[4]["dead_letter"], 1);
    assert_eq!(found[5]["failed_attempts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_version_of_a_reaction_is_the_one_that_came_to_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    commit(&store, (0..4).map(|_| failing()).collect()).await;
    store.apply(vec![reacts("hook", 1), moved("hook", 0)]).await.unwrap();
    // Never came to an event.
    store.apply(vec![reacts("hook", 3), moved("hook", 2)]).await.unwrap();
    let mut third = reacts("hook", 3);
    if let Effect::Reacts { member, .. } = &mut third {
        member.hash = "third".into();
    }
    store.apply(vec![third, moved("hook", 4)]).await.unwrap();
    for (seq, hash) in [(1, "hook from 1"), (2, "hook from 1"), (3, "third"), (4, "third")] {
        assert_eq!(told(&store, seq).await["reactions"][0]["hash"], hash, "{seq}");
    }
}

fn emitted(cause: &LogEntry, plugin: &str, index: usize) -> NewEntry {
    let mut new = failing();
    new.event.id = EventId::of_reaction(cause.event.id, &name(plugin), index);
    new.caused_by = Some(Cause { event_id: cause.event.id, plugin: name(plugin) });
    new.hops = cause.hops + 1;
    new
}

fn emits(plugin: &str, event_seq: Seq, emitted: usize) -> Effect {
    let (plugin, at) = (name(plugin), Timestamp::from_micros(1).unwrap());
    let (called, commands) = (called("x"), Vec::new());
    Effect::Reacted(Reacted { plugin, event_seq, attempt: 1, at, called, emitted, commands })
}

#[tokio::test]
async fn what_an_event_came_from_and_caused_is_found_by_ids_that_derive() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let root = commit(&store, vec![failing()]).await.remove(0);
    // A gap in the numbers: a command stands between the two.
    let both = vec![emitted(&root, "hook", 0), emitted(&root, "hook", 2)];
    let both = commit(&store, both).await;
    let last = commit(&store, vec![emitted(&both[1], "hook", 0)]).await.remove(0);
    let effects =
        vec![reacts("hook", 1), moved("hook", 4), emits("hook", 1, 2), emits("hook", 3, 1)];
    store.apply(effects).await.unwrap();

    let story = told(&store, 1).await;
    assert_eq!(story["causes"], json!([]));
    let below = &story["reactions"][0]["emitted"];
    let seqs: Vec<_> =
        below.as_array().unwrap().iter().map(|s| s["event"]["seq"].clone()).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!(below[1]["reactions"][0]["emitted"][0]["event"]["seq"], 4);

    let story = told(&store, last.seq).await;
    let causes: Vec<_> =
        story["causes"].as_array().unwrap().iter().map(|cause| cause["seq"].clone()).collect();
    assert_eq!(causes, [1, 3], "the first one first");
    let by_id = store.reader().trace(EventRef::Id(last.event.id)).await.unwrap();
    assert_eq!(serde_json::to_value(by_id).unwrap(), story);
}

#[tokio::test]
async fn a_trace_without_end_is_cut_and_says_how_much_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let root = commit(&store, vec![failing()]).await.remove(0);
    let first = commit(&store, (0..30).map(|index| emitted(&root, "hook", index)).collect()).await;
    for cause in &first {
        commit(&store, (0..10).map(|index| emitted(cause, "hook", index)).collect()).await;
    }
    let mut effects = vec![reacts("hook", 1), moved("hook", 331), emits("hook", 1, 30)];
    effects.extend(first.iter().map(|cause| emits("hook", cause.seq, 10)));
    store.apply(effects).await.unwrap();
    fn count(story: &Value) -> (usize, u64) {
        let reaction = &story["reactions"][0];
        let below = reaction["emitted"].as_array().cloned().unwrap_or_default();
        let left_out = reaction["left_out"].as_u64().unwrap_or(0);
        below.iter().map(count).fold((1, left_out), |(a, b), (c, d)| (a + c, b + d))
    }
    let (told, left_out) = count(&told(&store, 1).await);
    assert_eq!(told, MAX_STORIES);
    // Of those that are left out, nobody asks what they caused.
    assert!(left_out >= 20, "{left_out}");
}

#[tokio::test]
async fn a_published_event_lies_between_two_marks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let delivered = |seq, skipped: &[(Seq, &str)]| Effect::Delivered {
        sink: "nats".into(),
        place: Place { seq, taken: seq },
        skipped: skipped.iter().map(|(seq, reason)| (*seq, (*reason).into())).collect(),
    };
    let first = commit(&store, vec![failing()]).await.remove(0);
    store.apply(vec![delivered(1, &[])]).await.unwrap();
    let mut hidden = failing();
    hidden.dropped = Some(Dropped { by: name("noise"), reason: String::new() });
    commit(&store, vec![failing(), failing(), hidden, failing()]).await;
    store.apply(vec![delivered(4, &[(3, "too large")])]).await.unwrap();
    let published = async |seq| told(&store, seq).await["published"].clone();
    let one = published(1).await;
    assert_eq!(one[0]["state"], "published");
    assert_eq!(one[0]["after"], first.committed_at.to_string(), "not before it was committed");
    let two = published(2).await;
    assert!(one[0]["by"].as_str().unwrap() <= two[0]["by"].as_str().unwrap());
    assert_eq!(
        published(3).await,
        json!([{"state": "skipped", "sink": "nats", "reason": "too large"}])
    );
    assert_eq!(published(4).await, json!([]), "nobody is told of what is hidden");
    assert_eq!(published(5).await, json!([{"state": "pending", "sink": "nats"}]));
}

#[tokio::test]
async fn changes_of_before_this_was_recorded_are_told_as_far_as_they_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut hidden = failing();
    hidden.dropped = Some(Dropped { by: name("noise"), reason: "old".into() });
    let patched = failing();
    let entries = commit(&store, vec![hidden, patched]).await;
    commit(&store, vec![emitted(&entries[1], "hook", 0)]).await;
    store.apply(vec![moved("hook", 3)]).await.unwrap();
    store.close().await;
    drop(store);
    // The schema as it was, with a change.
    let db = rusqlite::Connection::open(folder.path().join("ennio.db")).unwrap();
    db.execute_batch(
        r#"DROP VIEW steps; ALTER TABLE events DROP COLUMN steps; DROP TABLE plugin_calls; DROP TABLE lineups; DROP TABLE reaction_versions;
           DROP TABLE reaction_steps; DROP TABLE marks; DROP TABLE undelivered; DROP TABLE pruned;
           DROP INDEX dead_letters_event; DROP INDEX reaction_attempts_seq; DROP INDEX escalations_event;
           DROP TABLE refused; DROP TABLE refused_pushed_out;
           DROP TABLE followed; DROP TABLE follow_gaps; DROP TABLE absent; DROP TABLE identity; ALTER TABLE cursors DROP COLUMN taken;
           ALTER TABLE reaction_attempts DROP COLUMN version;
           ALTER TABLE reaction_attempts DROP COLUMN took_ns;
           ALTER TABLE reaction_attempts DROP COLUMN said;
           ALTER TABLE reaction_attempts DROP COLUMN unsaid;
           CREATE TABLE changes (seq INTEGER NOT NULL, position INTEGER NOT NULL, plugin TEXT NOT NULL,
               version TEXT NOT NULL, patch TEXT NOT NULL, PRIMARY KEY (seq, position)) STRICT, WITHOUT ROWID;
           INSERT INTO changes VALUES (2, 0, 'triage', 'abc', '{"message":"new"}');
           PRAGMA user_version = 8;"#,
    )
    .unwrap();
    drop(db);
    let store = open(&folder);
    let story = told(&store, 1).await;
    assert_eq!(outcomes(&story, "pipeline"), pairs(&[("noise", "dropped")]));
    let story = told(&store, 2).await;
    assert_eq!(outcomes(&story, "pipeline"), pairs(&[("triage", "changed")]));
    assert_eq!(story["pipeline"][0]["changes"], json!([{"path": "message", "to": "new"}]));
    assert_eq!(story["reactions"][0]["emitted"][0]["event"]["seq"], 3);
}

proptest! {
    /// Applied one by one to any value, the differences make of it what the patch makes of it.
    #[test]
    fn the_differences_of_a_patch_are_the_patch(
        target in tree(),
        patch in tree().prop_filter("an object", Value::is_object),
    ) {
        let record = json!({"data": patch}).to_string();
        let mut changed = target.clone();
        for difference in diff::differences(&record, None).unwrap() {
            let difference = serde_json::to_value(difference).unwrap();
            let path = difference["path"].as_str().unwrap();
            let keys: Vec<&str> = path.split('.').skip(1).collect();
            set(&mut changed, &keys, difference.get("to"));
        }
        let data: crate::event::Data = target.to_string().parse().unwrap();
        let merged = data.merged(&patch.to_string()).unwrap();
        // An empty patch makes an object of what is none, which is no place in it.
        prop_assert_eq!(changed, serde_json::from_str::<Value>(merged.as_str()).unwrap());
    }

    /// However often a sink saves, no second has more than two marks, and every place still lies
    /// between marks that are right about it.
    #[test]
    fn marks_are_few_and_right(gaps in prop::collection::vec((1..5u64, 0..900_000i64), 1..60)) {
        let mut db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE marks (sink TEXT, seq INTEGER, at_us INTEGER, PRIMARY KEY (sink, seq))").unwrap();
        let mut saves = Vec::new();
        let (mut seq, mut at) = (0, 1_000_000);
        for (places, time) in gaps {
            seq += places;
            at += time;
            let db = db.transaction().unwrap();
            write::delivered(&db, "nats", seq, &[], Timestamp::from_micros(at).unwrap()).unwrap();
            db.commit().unwrap();
            saves.push((seq, at));
        }
        let mut find = db.prepare("SELECT at_us FROM marks ORDER BY seq").unwrap();
        let marks: Result<Vec<i64>, _> = find.query_map([], |row| row.get(0)).unwrap().collect();
        let marks = marks.unwrap();
        prop_assert!(marks.windows(3).all(|three| three[2] - three[0] >= 1_000_000));
        for place in 1..=seq {
            let truth = saves.iter().find(|(seq, _)| *seq >= place).unwrap().1;
            let (after, by) = read::marks(&db, "nats", place).unwrap();
            prop_assert!(after.is_none_or(|after| after.micros() <= truth));
            let by = by.unwrap().micros();
            prop_assert!(truth <= by && by - truth < 1_000_000, "{truth} {by}");
        }
    }
}

/// JSON with names that are plain.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), Just(json!("x"))];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map("[abc]", inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

/// Puts `to` there, or takes away what is there.
fn set(target: &mut Value, keys: &[&str], to: Option<&Value>) {
    let Some((key, rest)) = keys.split_first() else {
        // Into an empty object, an empty object changes nothing.
        if !(to == Some(&json!({})) && target.is_object()) {
            *target = to.cloned().unwrap_or_default();
        }
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let members = target.as_object_mut().unwrap();
    if let (true, None) = (rest.is_empty(), to) {
        members.remove(*key);
        return;
    }
    set(members.entry(*key).or_insert(Value::Null), rest, to);
}
