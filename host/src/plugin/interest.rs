//! Who wants an event: the subject patterns of many plugins as one tree of tokens, so that a plugin
//! that does not subscribe costs nothing for each event.
//!
//! Knows patterns, not plugins: whoever is interested is a number.

use std::collections::HashMap;

use crate::event::{Subject, SubjectPattern};

/// The patterns of all who are interested.
#[derive(Default)]
pub(super) struct Interest {
    root: Node,
}

/// What may follow on the tokens that lead here.
#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    /// Behind `*`.
    any: Option<Box<Node>>,
    /// Whose pattern ends here.
    here: Vec<usize>,
    /// Whose pattern goes on with `>`.
    rest: Vec<usize>,
}

impl Interest {
    /// Number `who` wants what `pattern` chooses.
    pub(super) fn add(&mut self, who: usize, pattern: &SubjectPattern) {
        let mut node = &mut self.root;
        for token in pattern.as_str().split('.') {
            node = match token {
                // Always the last token.
                ">" => return node.rest.push(who),
                "*" => node.any.get_or_insert_default(),
                literal => node.literals.entry(literal.into()).or_default(),
            };
        }
        node.here.push(who);
    }

    /// Tells of each who wants `subject`, once for each pattern of theirs that matches, in no order.
    pub(super) fn find(&self, subject: &Subject, mut found: impl FnMut(usize)) {
        self.root.find(subject.as_str(), &mut found);
    }
}

impl Node {
    /// `tokens` is never empty: a subject is not, and what follows its last token is not asked for.
    fn find(&self, tokens: &str, found: &mut impl FnMut(usize)) {
        self.rest.iter().copied().for_each(&mut *found);
        let (token, later) = match tokens.split_once('.') {
            Some((token, later)) => (token, Some(later)),
            None => (tokens, None),
        };
        for next in [self.literals.get(token), self.any.as_deref()].into_iter().flatten() {
            match later {
                Some(later) => next.find(later, found),
                None => next.here.iter().copied().for_each(&mut *found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_exactly_those_whose_pattern_matches(
            patterns in prop::collection::vec(
                prop::collection::vec("[ab*]", 1..5).prop_flat_map(|tokens| {
                    any::<bool>().prop_map(move |rest| {
                        tokens.join(".") + if rest { ".>" } else { "" }
                    })
                }),
                0..20,
            ),
            subject in prop::collection::vec("[abc]", 1..5).prop_map(|tokens| tokens.join(".")),
        ) {
            let subject: Subject = subject.parse().unwrap();
            let patterns: Vec<SubjectPattern> =
                patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
            let mut interest = Interest::default();
            patterns.iter().enumerate().for_each(|(who, pattern)| interest.add(who, pattern));
            let mut found = BTreeSet::new();
            interest.find(&subject, |who| assert!(found.insert(who), "told twice of one pattern"));
            let matching: BTreeSet<usize> =
                (0..patterns.len()).filter(|who| patterns[*who].matches(&subject)).collect();
            prop_assert_eq!(found, matching);
        }
    }
}
