//! Do the segments of a log fit together? Pure; [`super::Vault`] and [`super::find`] ask.

use super::error::VaultError;
use super::segment::Segment;

/// Checks that the segments of one log, ordered by position, cover `[0, end)` without gap or overlap, and
/// returns `end`; `None` if there are none.
pub(super) fn check(segments: &[Segment]) -> Result<Option<i64>, VaultError> {
    let mut end = 0;
    for segment in segments {
        let log = || segment.log.clone();
        if segment.from > end {
            return Err(VaultError::Gap { log: log(), from: end, to: segment.from });
        }
        if segment.from < end {
            return Err(VaultError::Overlap { log: log(), from: segment.from, to: end.min(segment.to) });
        }
        end = segment.to;
    }
    Ok((!segments.is_empty()).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::LogId;

    fn chain(ranges: &[(i64, i64)]) -> Result<Option<i64>, VaultError> {
        let segment = |&(from, to)| Segment { log: LogId::new("ops.actions", 0), from, to, records: 0, times: None };
        check(&ranges.iter().map(segment).collect::<Vec<_>>())
    }

    #[test]
    fn segments_that_fit_have_an_end() {
        assert_eq!(chain(&[]).unwrap(), None);
        assert_eq!(chain(&[(0, 7)]).unwrap(), Some(7));
        assert_eq!(chain(&[(0, 7), (7, 9)]).unwrap(), Some(9));
    }

    #[test]
    fn a_missing_head_or_middle_is_a_gap() {
        assert!(matches!(chain(&[(3, 7)]), Err(VaultError::Gap { from: 0, to: 3, .. })));
        assert!(matches!(chain(&[(0, 7), (8, 9)]), Err(VaultError::Gap { from: 7, to: 8, .. })));
    }

    #[test]
    fn positions_that_are_covered_twice_are_an_overlap() {
        assert!(matches!(chain(&[(0, 7), (5, 9)]), Err(VaultError::Overlap { from: 5, to: 7, .. })));
        assert!(matches!(chain(&[(0, 9), (5, 7)]), Err(VaultError::Overlap { from: 5, to: 7, .. })));
    }
}
