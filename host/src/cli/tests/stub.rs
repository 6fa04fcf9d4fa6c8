//! A host for tests: the API over a log in memory, able to be away, to lose answers and to hang up.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{
        IntoResponse, Response,
        sse::{self, Sse},
    },
    routing::get,
};
use futures::stream;
use serde_json::{Value, json, value::RawValue};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::event::{Digest, Draft, Dropped, LogEntry, Selection, Timestamp};

pub(super) struct Stub {
    pub(super) url: String,
    pub(super) log: Arc<Log>,
    server: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<Vec<(Arc<LogEntry>, Digest)>>,
    head: watch::Sender<usize>,
    /// Requests to answer with 503 without doing anything.
    pub(super) away: AtomicUsize,
    /// Requests to do, and to answer with 503.
    pub(super) lost: AtomicUsize,
    /// Events to answer with a problem of status 503.
    pub(super) held: AtomicUsize,
    /// A stream ends after so many events, when it is not 0.
    pub(super) hang_up_after: AtomicUsize,
    /// A larger request is answered with a bare 413, when it is not 0.
    pub(super) most_bytes: AtomicUsize,
    /// Events of each publishing request.
    pub(super) requests: Mutex<Vec<usize>>,
    /// Query strings of streams.
    pub(super) streams: Mutex<Vec<String>>,
}

/// Takes one of `what`, if there is one left.
fn take(what: &AtomicUsize) -> bool {
    what.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Stub {
    pub(super) async fn start() -> Self {
        let log = Arc::new(Log::default());
        let app = Router::new()
            .route("/v1/events", get(page).post(publish))
            .route("/v1/events/stream", get(follow))
            .route("/v1/events/{id}", get(one))
            .route("/v1/plugins", get(plugins))
            .route("/v1/status", get(status))
            .with_state(Arc::clone(&log));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, log, server }
    }
}

impl Log {
    pub(super) fn add(&self, json: &str) -> Value {
        let draft = match Draft::parse(json.as_bytes()) {
            Ok(draft) => draft,
            Err(error) => {
                return json!({"type": "about:blank", "title": "not an event", "status": 422,
                    "detail": error.reason.to_string(), "field": error.field});
            }
        };
        if take(&self.held) {
            return json!({"type": "about:blank", "title": "held", "status": 503, "detail": "held back: plugin slow"});
        }
        let digest = draft.digest();
        let event = draft.into_event(Timestamp::now());
        let mut entries = self.entries.lock().unwrap();
        if let Some((entry, known)) = entries.iter().find(|(entry, _)| entry.event.id == event.id) {
            return match *known == digest {
                true => json!({"id": event.id, "seq": entry.seq, "status": "duplicate"}),
                false => json!({"type": "about:blank", "title": "conflict", "status": 409,
                    "detail": format!("id {} is taken", event.id)}),
            };
        }
        let seq = entries.len() as u64 + 1;
        let dropped = event
            .message
            .as_str()
            .contains("noise")
            .then(|| Dropped { by: "noise-filter".parse().unwrap(), reason: "says noise".into() });
        let receipt = json!({"id": event.id, "seq": seq,
            "status": if dropped.is_some() { "dropped" } else { "accepted" }});
        let subject = event.subject();
        let entry = LogEntry::new(seq, event, subject, None, 0, dropped, Timestamp::now());
        entries.push((Arc::new(entry), digest));
        self.head.send_replace(entries.len());
        receipt
    }

    pub(super) fn head(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    fn chosen(&self, query: &Query) -> Vec<Arc<LogEntry>> {
        let entries = self.entries.lock().unwrap();
        let is_chosen = |entry: &&Arc<LogEntry>| {
            entry.seq > query.after && entry.seq < query.before && query.selection.matches(entry)
        };
        let mut chosen: Vec<_> =
            entries.iter().map(|(entry, _)| entry).filter(is_chosen).cloned().collect();
        if query.descending {
            chosen.reverse();
        }
        chosen
    }
}

struct Query {
    selection: Selection,
    after: u64,
    before: u64,
    descending: bool,
    limit: usize,
}

impl Query {
    fn parse(text: Option<String>) -> Self {
        let url = format!("http://h/?{}", text.unwrap_or_default());
        let mut query = Self {
            selection: Selection::default(),
            after: 0,
            before: u64::MAX,
            descending: false,
            limit: 100,
        };
        for (name, value) in reqwest::Url::parse(&url).unwrap().query_pairs() {
            let selection = &mut query.selection;
            match &*name {
                "type" => selection.types.push(value.parse().unwrap()),
                "subject" => selection.patterns.push(value.parse().unwrap()),
                "project" => selection.project = Some(value.parse().unwrap()),
                "session" => selection.session = Some(value.parse().unwrap()),
                "min_priority" => selection.min_priority = value.parse().unwrap(),
                "since" => selection.since = Some(value.parse().unwrap()),
                "until" => selection.until = Some(value.parse().unwrap()),
                "include_dropped" => selection.include_dropped = value == "true",
                "after_seq" => query.after = value.parse().unwrap(),
                "before_seq" => query.before = value.parse().unwrap(),
                "order" => query.descending = value == "desc",
                "limit" => query.limit = value.parse().unwrap(),
                other => panic!("no such parameter: {other}"),
            }
        }
        assert!((1..=500).contains(&query.limit), "limit {}", query.limit);
        query
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"type": "about:blank", "title": "failed", "status": status.as_u16(), "detail": detail});
    let kind = [(CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

async fn publish(State(log): State<Arc<Log>>, body: String) -> Response {
    if take(&log.away) {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the host is shutting down");
    }
    let most = log.most_bytes.load(Ordering::SeqCst);
    if most > 0 && body.len() > most {
        return (StatusCode::PAYLOAD_TOO_LARGE, "length limit exceeded").into_response();
    }
    let results: Vec<_> = body.lines().map(|line| log.add(line)).collect();
    log.requests.lock().unwrap().push(results.len());
    match take(&log.lost) {
        true => problem(StatusCode::SERVICE_UNAVAILABLE, "the answer is lost"),
        false => Json(json!({"results": results})).into_response(),
    }
}

async fn page(State(log): State<Arc<Log>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query);
    let mut chosen = log.chosen(&query);
    let next = (chosen.len() > query.limit).then(|| chosen[query.limit - 1].seq);
    chosen.truncate(query.limit);
    let events: Vec<&RawValue> =
        chosen.iter().map(|entry| serde_json::from_str(entry.json()).unwrap()).collect();
    #[derive(serde::Serialize)]
    struct Page<'a> {
        events: Vec<&'a RawValue>,
        next: Option<u64>,
    }
    Json(Page { events, next }).into_response()
}

async fn one(State(log): State<Arc<Log>>, Path(id): Path<String>) -> Response {
    let entries = log.entries.lock().unwrap();
    match entries.iter().find(|(entry, _)| entry.event.id.to_string() == id) {
        Some((entry, _)) => Body::from(entry.json().to_owned()).into_response(),
        None => problem(StatusCode::NOT_FOUND, &format!("event {id}: no such event")),
    }
}

async fn follow(State(log): State<Arc<Log>>, RawQuery(query): RawQuery) -> Response {
    log.streams.lock().unwrap().push(query.clone().unwrap_or_default());
    if take(&log.away) {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the host is shutting down");
    }
    let most = match log.hang_up_after.load(Ordering::SeqCst) {
        0 => usize::MAX,
        most => most,
    };
    let head = log.head.subscribe();
    let state = (log, Query::parse(query), head, most);
    Sse::new(stream::unfold(state, |(log, mut query, mut head, left)| async move {
        let left = left.checked_sub(1)?;
        loop {
            head.borrow_and_update();
            if let Some(entry) = log.chosen(&query).first() {
                query.after = entry.seq;
                let event = sse::Event::default().id(entry.seq.to_string()).data(entry.json());
                return Some((Ok::<_, Infallible>(event), (log, query, head, left)));
            }
            head.changed().await.ok()?;
        }
    }))
    .into_response()
}

async fn status(State(log): State<Arc<Log>>) -> Json<Value> {
    Json(
        json!({"version": "0", "head": log.head(), "database": "x", "nats": null, "cursors": {}, "dead_letters": 2}),
    )
}

async fn plugins(State(log): State<Arc<Log>>) -> Json<Value> {
    // Comes one event nearer whenever somebody looks.
    let cursor = log.streams.lock().unwrap().len().min(log.head());
    log.streams.lock().unwrap().push(String::new());
    Json(json!({"plugins": [
        {"name": "merge-ready", "state": "running", "roles": ["reaction"], "cursor": cursor, "events": 3},
        {"name": "noise-filter", "state": "running", "roles": ["filter"], "cursor": null},
    ]}))
}
