/// The name that a misspelt one most likely meant: the nearest by edits, when no more than a third
/// of its letters differ.
pub(super) fn nearest(misspelt: &str, names: &[&'static str]) -> Option<&'static str> {
    names
        .iter()
        .map(|name| (edits(misspelt, name), *name))
        .filter(|(edits, name)| *edits * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes: configuration keys are ASCII.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (b, above) in to.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != b)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("burst", "brust", 2),
        ] {
            assert_eq!(edits(from, to), count, "{from} -> {to}");
        }
    }

    #[test]
    fn a_name_too_far_away_is_not_offered() {
        assert_eq!(nearest("brust", &["burst", "drop"]), None);
        assert_eq!(nearest("burs", &["burst", "drop"]), Some("burst"));
    }
}
