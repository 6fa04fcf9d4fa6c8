//! What an operator does with messages that were refused on the way in: throws them away.

use super::operator::Operator;
use crate::store::{Effect, StoreError};

/// Which refused messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedChoice {
    /// The one of this number.
    One(i64),
    /// All that there are.
    All,
}

impl Operator {
    pub(super) async fn discard_refused(&self, which: RefusedChoice) -> Result<u64, StoreError> {
        let _turn = self.letters.lock().await;
        let reader = self.store.reader();
        let (first, last, count) = match which {
            RefusedChoice::One(id) => (id, id, reader.refused_message(id).await?.is_some().into()),
            RefusedChoice::All => (i64::MIN, i64::MAX, reader.refused_count().await?.kept),
        };
        if count > 0 {
            self.store.apply(vec![Effect::DiscardRefused { first, last }]).await?;
        }
        Ok(count)
    }
}
