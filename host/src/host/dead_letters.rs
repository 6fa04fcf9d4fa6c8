//! What an operator does with dead letters: has them tried again, or throws them away.

use tracing::info;

use super::operator::Operator;
use crate::store::{Effect, Letter, LetterQuery, MAX_PAGE, StoreError};

/// Which dead letters.
#[derive(Debug, Clone)]
pub enum Letters {
    /// The one of this number.
    One(i64),
    /// All that are chosen.
    Chosen(LetterQuery),
}

/// How many dead letters are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retried {
    /// These are.
    pub retried: u64,
    /// These are dead letters still, since as many events wait for their plugin as may.
    pub left: u64,
}

impl Operator {
    pub(super) async fn retry_letters(&self, which: Letters) -> Result<Retried, StoreError> {
        let _turn = self.letters.lock().await;
        let mut backlogs = self.store.reader().backlogs().await?;
        let mut done = Retried::default();
        let mut pages = Pages::of(which);
        while let Some(page) = self.next(&mut pages).await? {
            let mut effects = Vec::with_capacity(page.len());
            for letter in page {
                let backlog = backlogs.entry(letter.plugin.to_string()).or_default();
                if backlog.is_full() {
                    done.left += 1;
                    continue;
                }
                backlog.waiting += 1;
                effects.push(Effect::RetryDeadLetter(letter.id));
            }
            let count = effects.len() as u64;
            self.store.apply(effects).await?;
            done.retried += count;
            self.progress.knock();
        }
        let Retried { retried, left } = done;
        info!("dead letters: {retried} are tried again, {left} find no room to wait in");
        Ok(done)
    }

    pub(super) async fn discard_letters(&self, which: Letters) -> Result<u64, StoreError> {
        let _turn = self.letters.lock().await;
        let mut discarded = 0;
        let mut pages = Pages::of(which);
        while let Some(page) = self.next(&mut pages).await? {
            let effects: Vec<Effect> =
                page.iter().map(|letter| Effect::DiscardDeadLetter(letter.id)).collect();
            let count = effects.len() as u64;
            self.store.apply(effects).await?;
            discarded += count;
        }
        info!("dead letters: {discarded} are discarded");
        Ok(discarded)
    }

    /// The next of the letters that are chosen; `None` when there are no more.
    async fn next(&self, pages: &mut Pages) -> Result<Option<Vec<Letter>>, StoreError> {
        let reader = self.store.reader();
        let page = match pages {
            Pages::End => return Ok(None),
            Pages::One(id) => {
                let letter = reader.letter(*id).await?.map(|whole| whole.letter);
                *pages = Pages::End;
                letter.into_iter().collect()
            }
            Pages::Chosen(query) => {
                let page = reader.letters(query.clone(), MAX_PAGE).await?;
                query.after = page.last().map_or(query.after, |letter| letter.id);
                page
            }
        };
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// Letters page by page, so that any number of them takes little memory.
enum Pages {
    One(i64),
    Chosen(LetterQuery),
    End,
}

impl Pages {
    fn of(which: Letters) -> Self {
        match which {
            Letters::One(id) => Self::One(id),
            Letters::Chosen(query) => Self::Chosen(query),
        }
    }
}
