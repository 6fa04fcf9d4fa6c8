//! The stream that events come in by, and the consumer that the host reads it with: made where they are
//! not there, checked where they are. What does not fit is explained, never changed: others may use it.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    consumer::{AckPolicy, Consumer, Info as ConsumerInfo, pull},
    context::{ConsumerInfoErrorKind, CreateStreamErrorKind, GetStreamErrorKind},
    stream::{Config, RetentionPolicy, Stream},
};

use crate::nats::Prefix;

/// The durable consumer. Hosts that share it share the messages.
pub(super) const CONSUMER: &str = "ennio";

/// A message that was not acknowledged for so long is delivered again: longer than a slow commit, since
/// redeliveries come out of order.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that may wait for their acknowledgement; past that the server delivers no new ones. Twice
/// what the host has in its hands.
const MAX_ACK_PENDING: i64 = 8_192;

/// A stream to read events from.
pub(super) struct Source {
    pub(super) stream: String,
    /// The stream, and when it was made: another one of the same name counts its messages anew.
    pub(super) identity: String,
    pub(super) messages: pull::Stream,
}

/// Finds or makes the stream and the consumer. `Err` says what is wrong and the way out.
pub(super) async fn open(
    context: Context,
    prefix: &Prefix,
    subject: &str,
    at_once: usize,
) -> Result<Source, String> {
    let name = format!("{prefix}_INGEST").to_ascii_uppercase();
    let stream = stream(&context, &name, subject).await?;
    let info = stream.cached_info();
    if let Some(fault) = stream_fault(&info.config, subject) {
        return Err(format!("stream {name} {fault}"));
    }
    let identity = format!("{name} of {}", info.created.unix_timestamp_nanos());
    let consumer = consumer(&stream, subject).await?;
    if let Some(fault) = consumer_fault(consumer.cached_info(), subject) {
        return Err(format!(
            "consumer {CONSUMER} of stream {name} {fault} (change or delete it; the host makes one that fits)"
        ));
    }
    let messages = consumer.stream().max_messages_per_batch(at_once).messages().await;
    let messages = messages.map_err(|e| format!("consumer {CONSUMER} of stream {name}: {e}"))?;
    Ok(Source { stream: name, identity, messages })
}

async fn stream(context: &Context, name: &str, subject: &str) -> Result<Stream, String> {
    let error = |e: String| {
        format!(
            "cannot use stream {name}: {e} (taking events in from a stream needs JetStream, and for the \
             host's NATS user to publish to $JS.API.> and $JS.ACK.>; `ingest = \"core\"` does without)"
        )
    };
    match context.get_stream(name).await {
        Ok(stream) => return Ok(stream),
        Err(e) => match e.kind() {
            GetStreamErrorKind::JetStream(refusal) if refusal.code() == 404 => {}
            _ => return Err(error(e.to_string())),
        },
    }
    match context.create_stream(config(name, subject)).await {
        Ok(_) => context.get_stream(name).await.map_err(|e| error(e.to_string())),
        Err(e) => match e.kind() {
            CreateStreamErrorKind::JetStream(refusal) => Err(format!(
                "cannot make stream {name} of {subject}: {refusal} (a stream that has these subjects \
                 already has to let go of them, or `nats stream add {name}` makes one as you want it)"
            )),
            _ => Err(error(e.to_string())),
        },
    }
}

/// A message is gone from the stream once it is in the log.
fn config(name: &str, subject: &str) -> Config {
    Config {
        name: name.into(),
        description: Some("Events on their way into an Ennio host".into()),
        subjects: vec![subject.into()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    }
}

async fn consumer(stream: &Stream, subject: &str) -> Result<Consumer<pull::Config>, String> {
    let error = |e: String| format!("cannot use consumer {CONSUMER}: {e}");
    match stream.consumer_info(CONSUMER).await {
        // Only asked for whether it is a pull consumer at all.
        Ok(info) if info.config.deliver_subject.is_some() => Err(error(
            "it is a push consumer, and the host pulls (delete it; the host makes one that fits)"
                .into(),
        )),
        Ok(_) => stream.get_consumer(CONSUMER).await.map_err(|e| error(e.to_string())),
        Err(e) if e.kind() == ConsumerInfoErrorKind::NotFound => {
            let config = pull::Config {
                durable_name: Some(CONSUMER.into()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: MAX_ACK_PENDING,
                max_deliver: -1,
                filter_subject: subject.into(),
                ..pull::Config::default()
            };
            stream.create_consumer(config).await.map_err(|e| error(e.to_string()))
        }
        Err(e) => Err(error(e.to_string())),
    }
}

/// What is wrong with a stream that is there. How long it keeps messages, where and how often is its
/// owner's choice.
fn stream_fault(found: &Config, subject: &str) -> Option<String> {
    if let Some(mirror) = &found.mirror {
        return Some(format!("is a mirror of {}, which takes no events itself", mirror.name));
    }
    let wider = subject.strip_suffix('*').map(|start| format!("{start}>"));
    let has = |wanted: &str| found.subjects.iter().any(|found| found == wanted);
    if !has(subject) && !wider.as_deref().is_some_and(has) {
        return Some(format!(
            "has the subjects {:?}, without {subject} (add it with `nats stream edit`, or take the stream \
             away; the host makes one that fits)",
            found.subjects
        ));
    }
    found.no_ack.then(|| {
        "acknowledges nothing to who publishes (no_ack), so nobody knows what it took (turn that off)"
            .into()
    })
}

/// What is wrong with a consumer that is there.
fn consumer_fault(found: &ConsumerInfo, subject: &str) -> Option<String> {
    let config = &found.config;
    if config.ack_policy != AckPolicy::Explicit {
        return Some(format!(
            "acknowledges by {:?}, so that what is acknowledged need not be committed: it has to be \
             Explicit",
            config.ack_policy
        ));
    }
    if config.max_deliver > 0 {
        return Some(format!(
            "gives a message up after {} deliveries: max_deliver has to be -1",
            config.max_deliver
        ));
    }
    let filter = config.filter_subject.as_str();
    (!filter.is_empty() && filter != subject)
        .then(|| format!("reads {filter} instead of {subject}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_other_subjects_is_explained() {
        let ours = config("ENNIO_INGEST", "ennio.ingest.*");
        assert_eq!(stream_fault(&ours, "ennio.ingest.*"), None);
        let wider = Config { subjects: vec!["x".into(), "ennio.ingest.>".into()], ..ours.clone() };
        assert_eq!(stream_fault(&wider, "ennio.ingest.*"), None);
        let other = Config { subjects: vec!["ennio.ingest.atlas".into()], ..ours.clone() };
        let fault = stream_fault(&other, "ennio.ingest.*").unwrap();
        assert!(fault.contains("ennio.ingest.atlas") && fault.contains("stream edit"), "{fault}");
        let mute = Config { no_ack: true, ..ours };
        assert!(stream_fault(&mute, "ennio.ingest.*").unwrap().contains("no_ack"));
    }
}
