use serde::{Deserialize, Serialize};

/// What the names of one project's live sessions may take, in bytes of JSON.
const BYTES: usize = 16 << 10;

/// The live sessions of one project, the one that began longest ago first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live(Vec<String>);

impl Live {
    /// The session lives. When there are too many, those that began longest ago are forgotten.
    pub(crate) fn begin(&mut self, session: &str) {
        if self.0.iter().any(|live| live == session) {
            return;
        }
        self.0.push(session.to_owned());
        let mut over =
            self.0.iter().map(|live| live.len() + 3).sum::<usize>().saturating_sub(BYTES);
        let is_forgotten = |live: &&String| {
            let is_forgotten = over > 0;
            over = over.saturating_sub(live.len() + 3);
            is_forgotten
        };
        let forgotten = self.0.iter().take_while(is_forgotten).count();
        self.0.drain(..forgotten);
    }

    /// The session has ended. Whether it was the last one: false when it did not live.
    pub(crate) fn end(&mut self, session: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|live| live != session);
        before > 0 && self.0.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_many_sessions_forget_the_oldest() {
        let mut live = Live::default();
        for n in 0..10_000 {
            live.begin(&format!("session-{n}"));
        }
        assert!(serde_json::to_string(&live).unwrap().len() <= BYTES + 2);
        assert!(live.0.len() > 1_000, "{}", live.0.len());
        assert_eq!(live.0.last().unwrap(), "session-9999");
        assert!(!live.0.iter().any(|live| live == "session-0"));
    }

    proptest! {
        #[test]
        fn it_is_a_set_and_tells_when_it_becomes_empty(
            story in prop::collection::vec((any::<bool>(), "[ab]{1,2}"), 0..60)
        ) {
            let (mut live, mut model) = (Live::default(), BTreeSet::new());
            for (begins, session) in story {
                if begins {
                    live.begin(&session);
                    model.insert(session);
                } else {
                    let was_last = model.remove(&session) && model.is_empty();
                    prop_assert_eq!(live.end(&session), was_last);
                }
                prop_assert_eq!(live.is_empty(), model.is_empty());
            }
        }
    }
}
