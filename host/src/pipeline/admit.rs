//! Which of the events of a batch are new. A decision without waiting: everything that has to be
//! known is an argument.

use std::collections::HashMap;

use crate::{
    event::{Digest, Draft, EventId},
    store::Known,
};

use super::messages::{PublishError, Receipt, Status};

/// What to do with one draft.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Run it.
    New,
    /// It stands in the log: answer at once.
    Answered(Result<Receipt, PublishError>),
    /// The same event stands earlier in this batch, at this index of the batch: it shares its fate.
    Twin(usize),
    /// Another event with this id stands earlier in this batch, at this index.
    Clash(usize),
}

/// Judges drafts in the order of their arrival.
#[derive(Default)]
pub(super) struct Admitter {
    here: HashMap<EventId, (usize, Digest)>,
}

impl Admitter {
    /// `index` is the draft's place in the batch, `known` what the log knows of its id.
    pub(super) fn judge(
        &mut self,
        index: usize,
        draft: &Draft,
        digest: Digest,
        known: Option<Known>,
    ) -> Admission {
        // The host mints a new id for it, which nobody can have sent before.
        let Some(id) = draft.id else { return Admission::New };
        if let Some(known) = known {
            return Admission::Answered(match known.digest == digest {
                true => Ok(Receipt { id, seq: known.seq, status: Status::Duplicate }),
                false => Err(PublishError::Conflict { id, seq: known.seq }),
            });
        }
        match self.here.get(&id) {
            Some((first, same)) if *same == digest => Admission::Twin(*first),
            Some((first, _)) => Admission::Clash(*first),
            None => {
                self.here.insert(id, (index, digest));
                Admission::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    #[test]
    fn a_known_id_is_a_duplicate_or_a_conflict_by_its_content() {
        let mut draft =
            Draft::new(EventType::PrCreated, "p".parse().unwrap(), "s".parse().unwrap());
        let id = EventId::mint();
        draft.id = Some(id);
        let digest = draft.digest();
        let known = |digest| Some(Known { seq: 7, digest, dropped: false });
        let judge = |known| Admitter::default().judge(0, &draft, digest, known);
        assert_eq!(
            judge(known(digest)),
            Admission::Answered(Ok(Receipt { id, seq: 7, status: Status::Duplicate }))
        );
        assert_eq!(
            judge(known(Digest([0; 16]))),
            Admission::Answered(Err(PublishError::Conflict { id, seq: 7 }))
        );
        assert_eq!(judge(None), Admission::New);
    }

    #[test]
    fn twins_in_one_batch_share_one_place_and_others_clash() {
        let mut draft =
            Draft::new(EventType::PrCreated, "p".parse().unwrap(), "s".parse().unwrap());
        draft.id = Some(EventId::mint());
        let mut admitter = Admitter::default();
        assert_eq!(admitter.judge(3, &draft, draft.digest(), None), Admission::New);
        assert_eq!(admitter.judge(4, &draft, draft.digest(), None), Admission::Twin(3));
        assert_eq!(admitter.judge(5, &draft, Digest([0; 16]), None), Admission::Clash(3));
        draft.id = None;
        assert_eq!(admitter.judge(6, &draft, draft.digest(), None), Admission::New);
        assert_eq!(admitter.judge(7, &draft, draft.digest(), None), Admission::New);
    }
}
