//! The way in over HTTP: one event, an array, or a stream of lines. Every answer is given after the
//! commit.

use std::{
    io::{self, Seek, SeekFrom, Write},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, TryStreamExt};
use serde_json::value::RawValue;
use tempfile::SpooledTempFile;
use tokio::time::timeout;
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::{ReaderStream, StreamReader},
};

use crate::event::{Draft, EventError};

use super::{Api, JSON_BODY_BYTES, events::json, problem::Problem};

/// The longest line of an NDJSON body, in bytes.
const LINE_BYTES: usize = 1 << 20;
/// Lines that go through the pipeline together. While they do, the next ones are read.
const LINES: usize = 512;
/// The same, in bytes.
const LINES_BYTES: usize = 4 << 20;
/// A JSON body has to be here within this time, and so has the next line of an NDJSON body.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The answer to a long NDJSON body is kept in memory up to this size, in bytes, then in a file.
const ANSWER_BYTES: usize = 4 << 20;

pub(super) async fn publish(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
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

async fn read_json(body: Body) -> Result<Json, Problem> {
    let bytes = timeout(BODY_TIME, axum::body::to_bytes(body, JSON_BODY_BYTES)).await;
    let bytes = bytes.map_err(|_| Problem::too_late(BODY_TIME))?.map_err(|e| {
        // The limit is the only error with a source of its own here; a broken connection gets no
        // answer anyway.
        Problem::too_large(format!(
            "a JSON body of more than {JSON_BODY_BYTES} bytes, or one that broke off: {e} (send many \
             events as application/x-ndjson, which has no limit in all)"
        ))
    })?;
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
    answer.add(api, drafts).await?;
    answer.finish()
}

async fn lines(api: &Api, body: BodyDataStream) -> Result<Response, Problem> {
    let reader = StreamReader::new(body.map_err(io::Error::other));
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES));
    let mut answer = Answer::new();
    let mut drafts = Vec::new();
    let mut bytes = 0;
    loop {
        let line = match lines.try_next().now_or_never() {
            Some(line) => line.map_err(Some),
            // The sender pauses: what it sent so far does not wait for what it will send.
            None => {
                answer.add(api, std::mem::take(&mut drafts)).await?;
                bytes = 0;
                match timeout(BODY_TIME, lines.try_next()).await {
                    Ok(line) => line.map_err(Some),
                    Err(_) => Err(None),
                }
            }
        };
        let line = line.map_err(|e| match e {
            Some(LinesCodecError::MaxLineLengthExceeded) => Problem::too_large(format!(
                "line {} is longer than {LINE_BYTES} bytes; the lines before it were taken",
                answer.count + drafts.len() + 1
            )),
            Some(LinesCodecError::Io(e)) => Problem::unreadable_body(format!(
                "after line {}: {e}; the lines before it were taken",
                answer.count + drafts.len()
            )),
            None => Problem::too_late(BODY_TIME),
        });
        match line {
            Ok(Some(line)) if line.trim().is_empty() => {}
            Ok(Some(line)) => {
                bytes += line.len();
                drafts.push(Draft::parse(line.as_bytes()));
            }
            Ok(None) => {
                answer.add(api, drafts).await?;
                return answer.finish();
            }
            Err(problem) => {
                answer.add(api, drafts).await?;
                return Err(problem);
            }
        }
        if drafts.len() >= LINES || bytes >= LINES_BYTES {
            answer.add(api, std::mem::take(&mut drafts)).await?;
            bytes = 0;
        }
    }
}

/// `{"results":[receipt or problem, …]}`, spooled to a file when it is long.
struct Answer {
    text: SpooledTempFile,
    count: usize,
}

impl Answer {
    fn new() -> Self {
        Self { text: SpooledTempFile::new(ANSWER_BYTES), count: 0 }
    }

    /// Publishes what is an event, and adds the outcomes in the order of the lines.
    async fn add(
        &mut self,
        api: &Api,
        drafts: Vec<Result<Draft, EventError>>,
    ) -> Result<(), Problem> {
        let mut good = Vec::with_capacity(drafts.len());
        let bad: Vec<Option<EventError>> = drafts
            .into_iter()
            .map(|draft| match draft {
                Ok(draft) => {
                    good.push(draft);
                    None
                }
                Err(e) => Some(e),
            })
            .collect();
        let mut outcomes = match good.is_empty() {
            true => Vec::new(),
            false => api.host.pipeline().publish_all(good).await,
        }
        .into_iter();
        for bad in bad {
            let text = match bad {
                Some(e) => serde_json::to_string(&Problem::from(e)),
                None => match outcomes.next() {
                    Some(Ok(receipt)) => serde_json::to_string(&receipt),
                    Some(Err(e)) => serde_json::to_string(&Problem::from(e)),
                    None => break,
                },
            };
            let opening = if self.count == 0 { "{\"results\":[" } else { "," };
            self.count += 1;
            let text = text.map_err(io::Error::other);
            text.and_then(|text| write!(self.text, "{opening}{text}"))
                .map_err(|e| spool_fault(&e))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Response, Problem> {
        let mut write = || {
            if self.count == 0 {
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
