//! "Did you mean": the known word that is closest to a wrong one. Called wherever names are checked.

/// The candidate that was probably meant by `word`, if one is near: equal but for case and separators, at most
/// a third of its letters wrong, or the one begins with the other. Of equals, the first.
pub fn closest<'c, S: AsRef<str> + ?Sized + 'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c S>,
) -> Option<&'c str> {
    let wanted = folded(word);
    // Longer words are hostile, not mistyped: the distance is quadratic.
    if wanted.is_empty() || wanted.len() > 48 {
        return None;
    }
    candidates
        .into_iter()
        .map(AsRef::as_ref)
        .filter_map(|candidate| score(&wanted, &folded(candidate)).map(|score| (score, candidate)))
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean ...` written out as a help, if anything is near.
pub(super) fn did_you_mean<'c, S: AsRef<str> + ?Sized + 'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c S>,
) -> Option<String> {
    closest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// Lower = nearer; `None` = too far.
fn score(wanted: &[char], candidate: &[char]) -> Option<usize> {
    let (shorter, longer) = (wanted.len().min(candidate.len()), wanted.len().max(candidate.len()));
    if shorter >= 3 && (wanted.starts_with(candidate) || candidate.starts_with(wanted)) {
        return Some(longer - shorter);
    }
    distance(wanted, candidate, (longer / 3).max(1)).filter(|distance| *distance < wanted.len())
}

fn folded(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Edits of one letter, or of two neighbours swapped, that make `a` of `b` (optimal string alignment), if they are
/// at most `limit`.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        // A swap reaches back two rows, so two rows beyond the limit end it.
        if row.iter().chain(&above).all(|edits| *edits > limit) {
            return None;
        }
        before = std::mem::replace(&mut above, row);
    }
    Some(above[b.len()]).filter(|edits| *edits <= limit)
}

#[cfg(test)]
mod tests {
    use super::closest;

    const KEYS: [&str; 5] = ["threshold", "target", "objective", "window_seconds", "step"];

    #[test]
    fn one_wrong_letter_is_found() {
        assert_eq!(closest("treshold", &KEYS), Some("threshold"));
        assert_eq!(closest("tagret", &KEYS), Some("target"));
        assert_eq!(closest("Window-Seconds", &KEYS), Some("window_seconds"));
    }

    #[test]
    fn a_beginning_is_found() {
        assert_eq!(closest("window", &KEYS), Some("window_seconds"));
    }

    #[test]
    fn what_is_far_is_not_suggested() {
        assert_eq!(closest("playbook", &KEYS), None);
        assert_eq!(closest("x", &KEYS), None);
        assert_eq!(closest("", &KEYS), None);
        assert_eq!(closest(&"t".repeat(100_000), &KEYS), None);
    }
}
