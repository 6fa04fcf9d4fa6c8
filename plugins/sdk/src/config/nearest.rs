/// The name that a misspelt one most likely meant: the nearest by edits, when they are no more than
/// a third of its letters.
pub(super) fn nearest(misspelt: &str, names: &[&'static str]) -> Option<&'static str> {
    names
        .iter()
        .map(|name| (edits(misspelt, name), *name))
        .filter(|(edits, name)| *edits * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// How many letters to insert, delete, replace or swap with their neighbour (the optimal string
/// alignment distance). In bytes: configuration keys are ASCII.
fn edits(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, j).saturating_add(usize::from(a != b));
            let deleted = at(&last, j + 1).saturating_add(1);
            let inserted = at(&row, j).saturating_add(1);
            let mut best = replaced.min(deleted).min(inserted);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before_last, j - 1).saturating_add(1));
            }
            row.push(best);
        }
        before_last = last;
        last = row;
    }
    last.last().copied().unwrap_or(0)
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
            ("burst", "brust", 1),
            ("wrod", "word", 1),
        ] {
            assert_eq!(edits(from, to), count, "{from} -> {to}");
        }
    }

    #[test]
    fn a_name_too_far_away_is_not_offered() {
        assert_eq!(nearest("brust", &["burst", "drop"]), Some("burst"));
        assert_eq!(nearest("drops", &["burst", "drop"]), Some("drop"));
        assert_eq!(nearest("rpod", &["burst", "drop"]), None);
    }
}
