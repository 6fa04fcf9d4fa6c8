//! Request bodies: read whole within a limit and a time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use bytes::BytesMut;
use futures::TryStreamExt;
use tokio::time::timeout;

use super::problem::Problem;

/// The next piece of a body has to be here within this time.
pub(super) const PIECE_TIME: Duration = Duration::from_secs(30);
/// What is read of a body that is too large, after the fault, in bytes.
const DRAIN_BYTES: usize = 64 << 20;

/// The whole body, of at most `limit` bytes. `hint` says what to do with a larger one.
pub(super) async fn read(body: Body, limit: usize, hint: &str) -> Result<Bytes, Problem> {
    let mut body = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(piece) = next_piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > limit {
            drain(&mut body).await;
            return Err(Problem::too_large(format!("this body is at most {limit} bytes ({hint})")));
        }
    }
    Ok(bytes.freeze())
}

async fn next_piece(body: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let piece = timeout(PIECE_TIME, body.try_next()).await;
    piece.map_err(|_| Problem::too_late(PIECE_TIME))?.map_err(Problem::unreadable_body)
}

/// Reads on for a while without keeping anything. A sender that is answered while it still sends
/// sees a broken connection, and often not the answer.
pub(super) async fn drain(body: &mut BodyDataStream) {
    let mut drained = 0;
    while drained < DRAIN_BYTES {
        match next_piece(body).await {
            Ok(Some(piece)) => drained += piece.len(),
            _ => return,
        }
    }
}
