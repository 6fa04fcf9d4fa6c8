//! NATS. The way out: every committed event, on its subject, in the order of the log.
//!
//! **What it promises.** The publisher is a cursor over the log, no second queue. With the server
//! away the host works on, and the publisher continues from its cursor when the server is back.
//! The cursor moves over an event only when the server has taken it:
//!
//! - *The host owns a stream* (`NatsOptions::stream`): when that stream has acknowledged the event.
//!   Nothing is ever sent past it: while it cannot be made, is not as configured, or is gone, events
//!   wait. It has every event once and in order, see `stream`.
//! - *A stream of somebody else's covers the subject*: when the stream has acknowledged the event. What
//!   is sent again carries the same `Nats-Msg-Id`, the event's id, so a stream stores it once as
//!   long as its duplicate window lasts (two minutes unless configured). After that window a
//!   repetition is stored again, recognisable by its id.
//! - *No stream covers it* (core NATS): when the server has read the event from the connection,
//!   which a round trip behind it proves. Core NATS is **at most once**: whoever does not listen
//!   at that moment, or is too slow for the server, misses the event, and a lost connection may
//!   show an event twice. Whoever must not miss events wants a stream, or follows the log.
//!
//! Streams of others may come and go while the host runs; what covers which subject is asked anew every
//! ten seconds. Streams that never acknowledge (`no_ack`) count as none. The host's own is compared as
//! often; one that was deleted is made anew, with a warning: what was published before is not in it.
//!
//! Events are sent one by one, 256 at once under way. Servers since 2.12 take batches, but of those the
//! client library (0.51) knows the headers' names alone, and a batch is refused as a whole where one of
//! its events was stored before.
//!
//! **Order.** One connection serves one session and never reconnects. Each session sends, from the
//! cursor on, one unbroken run of the log, and a server reads a prefix of that run. So whatever
//! sessions overlap or die, the *first* appearance of every event is in the order of the log. A
//! client that reconnected by itself would send what waited in its channel behind the hole that
//! the lost connection tore. One exception, which the host's own stream does not have: a stream that
//! refuses one event and takes a later one of the same window (it was full for a moment) stores them
//! in the order in which it took them; `Ennio-Seq` tells the order of the log.
//!
//! **What is skipped.** An event larger than the server's `max_payload`, or than the stream's
//! `max_msg_size`, would hold up all that follow for ever. It stays in the log, is skipped, counted
//! and reported as an error. Events that a filter hid are not published. Of what is under way when a
//! stream says that an event is too large for it, `Ennio-Previous` still names that event.
//!
//! **On the wire.** The event's eight fields as JSON, on its subject with the configured prefix in
//! place of the first token, with the headers `Nats-Msg-Id` (event id), `Ennio-Seq` (place in the
//! log), `Ennio-Hops`, and, for what a reaction emitted, `Ennio-Caused-By` (`<event id> <plugin>`).
//! `message` tells of the others, with which a reader keeps the same log and finds out what it misses.
//!
//! **Permissions** that the host's NATS user needs: publish to `<prefix>.>` and `_INBOX.>`,
//! subscribe to `_INBOX.>`, and, where the account has JetStream, publish to
//! `$JS.API.STREAM.LIST`; for a stream `S` of its own instead to `$JS.API.STREAM.INFO.S`,
//! `$JS.API.STREAM.CREATE.S` and `$JS.API.STREAM.MSG.GET.S`. What is refused holds the publisher where
//! it is, and the status says so.
//!
//! **History once more** is `replay`, which a command runs, not the host: marked with `Ennio-Replay`.
//!
//! **The way in for commands** is `commands`: `<prefix>.commands.<command>`, over a connection of its
//! own, which needs to subscribe to `<prefix>.commands.*` and to publish to the reply subjects of
//! those who ask. It knows the names of commands and has somebody carry them out.
//!
//! **Plugins** come in through `mirror`, which follows a `bucket` of them and hands what is there to
//! somebody who keeps it; `ennio plugin push` puts them there. `survey` asks every host something.
//!
//! **The way in for events** is `ingest`, **what the host tells of itself** is `telling`; each has a
//! connection of its own as well (`service`).
//!
//! **The way back**, from a host's stream to a copy of its log elsewhere, is `follow`.
//!
//! Knows `event`, `store`, `bus` and the pipeline. May not know who configures or observes it. `session`,
//! for a command `replay`, and `follow`'s own session both talk to the server and decide what comes next,
//! by asking `window`, `ack`, `coverage` and `retry`, which are plain functions of what was seen. Every
//! connection of the host comes from `Connection::open`, with what `access` says.

mod access;
mod ack;
mod bucket;
mod commands;
mod connection;
mod coverage;
mod follow;
mod ingest;
mod message;
mod mirror;
mod options;
mod publisher;
mod replay;
mod retry;
mod service;
mod session;
mod status;
mod stream;
mod stream_options;
mod survey;
mod telling;
mod window;

pub use access::{Access, AccessError, AccessOptions, Secret};
pub use bucket::{Bucket, BucketError, BucketName};
pub use commands::CommandListener;
pub use follow::{
    FollowOptions, FollowSnapshot, FollowState, FollowStatus, Follower, NewFollower, OnGap,
};
pub use ingest::{Ingest, IngestCounts, IngestSnapshot, IngestState, IngestStatus, Ingester};
pub use mirror::{Mirror, MirrorSnapshot, MirrorState, MirrorStatus, Replica, Version};
pub use options::{NatsOptions, NatsUrl, NatsUrlError, Prefix};
pub use publisher::{CURSOR, Publisher, StopError};
pub use replay::{ReplayError, ReplayId, Replayer, Skipped};
pub use status::{NatsState, NatsStatus, Snapshot};
pub use stream_options::{Replicas, Storage, StreamName, StreamOptions, Window};
pub use survey::{SurveyError, ask_every_host};
pub use telling::{Figures, Teller};

#[cfg(test)]
#[expect(unreachable_pub, reason = "taken in by tests outside of the crate as well")]
mod testing;
#[cfg(test)]
mod tests;
