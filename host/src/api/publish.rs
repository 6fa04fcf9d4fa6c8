//! The way in over HTTP: one event, an array, or a stream of lines. Every answer is given after the
//! commit.

use std::io::{self, Seek, SeekFrom, Write};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream::FuturesOrdered};
use serde_json::value::RawValue;
use tempfile::SpooledTempFile;
use tokio::time::timeout;
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::{ReaderStream, StreamReader},
};

use crate::{
    event::{Draft, EventError},
    pipeline::{Pipeline, PublishError, Receipt},
};

use super::{
    Api, JSON_BODY_BYTES,
    body::{self, PIECE_TIME},
    events::json,
    problem::Problem,
};

/// The longest line of an NDJSON body, in bytes.
const LINE_BYTES: usize = 1 << 20;
/// The most lines that go through the pipeline together.
const LINES: usize = 512;
/// The same, in bytes.
const LINES_BYTES: usize = 4 << 20;
/// Such groups of lines on their way at once: the plugins work on one while the other is committed.
const IN_FLIGHT: usize = 2;
/// What a receipt takes in an answer, in bytes; longer ones only take longer.
const RECEIPT_BYTES: usize = 96;
/// The answer to a long NDJSON body is kept in memory up to this size, in bytes, then in a file.
const ANSWER_BYTES: usize = 4 << 20;

pub(super) async fn publish(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    // Once, and not for each event of a long body.
    if let Some(reason) = api.host.pipeline().bar() {
        return Err(PublishError::Barred(reason.to_owned()).into());
    }
    let (parts, body) = request.into_parts();
    match content_type(&parts.headers) {
        Some("application/json") => match read_json(body).await? {
            Json::One(bytes) => one(&api, &bytes).await,
            Json::Many(bytes) => many(&api, &bytes).await,
        },
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            lines(&api, body.into_data_stream()).await
        }
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "urn:ennio:problem:content-type",
            "unknown content type",
            format!(
                "content-type {} is not read here (send application/json with one event or an \
                 array, or application/x-ndjson with one event a line)",
                other.unwrap_or("(none)")
            ),
        )),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

enum Json {
    One(Bytes),
    Many(Bytes),
}

async fn read_json(given: Body) -> Result<Json, Problem> {
    let hint = "send many events as application/x-ndjson, which has no limit in all";
    let bytes = body::read(given, JSON_BODY_BYTES, hint).await?;
    Ok(match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Json::Many(bytes),
        _ => Json::One(bytes),
    })
}

async fn one(api: &Api, json_text: &[u8]) -> Result<Response, Problem> {
    let draft = Draft::parse(json_text)?;
    let receipt = api.host.publish(draft).await?;
    Ok((StatusCode::CREATED, axum::Json(receipt)).into_response())
}

async fn many(api: &Api, json_text: &[u8]) -> Result<Response, Problem> {
    let events: Vec<&RawValue> = serde_json::from_slice(json_text).map_err(|e| {
        let reason = crate::event::Reason::Syntax(e.to_string());
        Problem::from(EventError::new("body", reason))
    })?;
    let drafts = events.iter().map(|raw| Draft::parse(raw.get().as_bytes())).collect();
    let mut answer = Answer::new();
    answer.add(outcomes(api.host.pipeline().clone(), drafts).await)?;
    answer.finish()
}

/// Reads lines while those before them go through the pipeline. The first goes at once; what comes
/// in the meantime goes together.
async fn lines(api: &Api, body: BodyDataStream) -> Result<Response, Problem> {
    let reader = StreamReader::new(body.map_err(io::Error::other));
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES));
    let mut answer = Answer::new();
    let mut waiting = Waiting::default();
    let mut count = 0;
    let mut more_is_coming = false;
    // Answers in the order of the lines; the sequencer keeps the order of the events.
    let mut in_flight = FuturesOrdered::new();
    let end = loop {
        let may_start = in_flight.is_empty() || (waiting.is_full() && in_flight.len() < IN_FLIGHT);
        if may_start && !waiting.drafts.is_empty() {
            let drafts = std::mem::take(&mut waiting).drafts;
            in_flight.push_back(outcomes(api.host.pipeline().clone(), drafts));
        }
        tokio::select! {
            Some(outcomes) = in_flight.next() => answer.add(outcomes)?,
            line = timeout(PIECE_TIME, lines.try_next()), if !waiting.is_full() => match line {
                Ok(Ok(Some(line))) if line.trim().is_empty() => {}
                Ok(Ok(Some(line))) => {
                    count += 1;
                    waiting.bytes += line.len();
                    waiting.drafts.push(Draft::parse(line.as_bytes()));
                }
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                    more_is_coming = true;
                    break Err(Problem::too_large(format!(
                        "line {} is longer than {LINE_BYTES} bytes; the lines before it were taken",
                        count + 1
                    )));
                }
                Ok(Err(LinesCodecError::Io(e))) => {
                    break Err(Problem::unreadable_body(format!(
                        "after line {count}: {e}; the lines before it were taken"
                    )));
                }
                Err(_) => break Err(Problem::too_late(PIECE_TIME)),
            },
        }
    };
    if more_is_coming {
        body::drain(lines.into_inner().into_inner().get_mut()).await;
    }
    in_flight.push_back(outcomes(api.host.pipeline().clone(), waiting.drafts));
    while let Some(outcomes) = in_flight.next().await {
        answer.add(outcomes)?;
    }
    end?;
    answer.finish()
}

/// Lines that were read and are not yet on their way.
#[derive(Default)]
struct Waiting {
    drafts: Vec<Result<Draft, EventError>>,
    bytes: usize,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.drafts.len() >= LINES || self.bytes >= LINES_BYTES
    }
}

/// Publishes what is an event; what becomes of each draft, in their order.
async fn outcomes(
    pipeline: Pipeline,
    drafts: Vec<Result<Draft, EventError>>,
) -> Vec<Result<Receipt, Problem>> {
    let mut good = Vec::with_capacity(drafts.len());
    let mut faults = Vec::with_capacity(drafts.len());
    for draft in drafts {
        faults.push(draft.map(|draft| good.push(draft)).err());
    }
    let mut published = match good.is_empty() {
        true => Vec::new(),
        false => pipeline.publish_all(good).await,
    }
    .into_iter();
    let outcome = |fault: Option<EventError>| match fault {
        Some(fault) => Err(fault.into()),
        None => published.next().unwrap_or(Err(PublishError::Closed)).map_err(Into::into),
    };
    faults.into_iter().map(outcome).collect()
}

/// `{"results":[receipt or problem, …]}`, spooled to a file when it is long.
struct Answer {
    text: SpooledTempFile,
    is_empty: bool,
}

impl Answer {
    fn new() -> Self {
        Self { text: SpooledTempFile::new(ANSWER_BYTES), is_empty: true }
    }

    fn add(&mut self, outcomes: Vec<Result<Receipt, Problem>>) -> Result<(), Problem> {
        let mut text = Vec::with_capacity(outcomes.len() * RECEIPT_BYTES);
        for outcome in outcomes {
            let opening: &[u8] = if self.is_empty { b"{\"results\":[" } else { b"," };
            self.is_empty = false;
            text.extend_from_slice(opening);
            match outcome {
                Ok(receipt) => serde_json::to_writer(&mut text, &receipt),
                Err(problem) => serde_json::to_writer(&mut text, &problem),
            }
            .map_err(|e| spool_fault(&io::Error::other(e)))?;
        }
        self.text.write_all(&text).map_err(|e| spool_fault(&e))
    }

    fn finish(mut self) -> Result<Response, Problem> {
        let mut write = || {
            if self.is_empty {
                self.text.write_all(b"{\"results\":[")?;
            }
            self.text.write_all(b"]}")?;
            self.text.seek(SeekFrom::Start(0))
        };
        write().map_err(|e| spool_fault(&e))?;
        match self.text.into_inner() {
            tempfile::SpooledData::InMemory(memory) => Ok(json(memory.into_inner())),
            tempfile::SpooledData::OnDisk(file) => {
                let file = tokio::fs::File::from_std(file);
                Ok(json(Body::from_stream(ReaderStream::new(file))))
            }
        }
    }
}

fn spool_fault(e: &io::Error) -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "urn:ennio:problem:answer",
        "the events were taken, but the answer cannot be kept",
        format!("{e} (send fewer lines in one body, or free space for temporary files)"),
    )
}
