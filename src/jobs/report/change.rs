//! The change of a figure in percent.

/// The change from one figure to another in percent, to one decimal; `None` from zero or from a negative figure, for
/// which a percentage is meaningless.
pub fn percent(before: i64, now: i64) -> Option<f64> {
    tenths(before, now).map(|tenths| f64::from(tenths) / 10.0)
}

/// The same in tenths of a percent.
pub fn tenths(before: i64, now: i64) -> Option<i32> {
    if before <= 0 {
        return None;
    }
    let (before, now) = (i128::from(before), i128::from(now));
    let thousandths = (now - before) * 1000;
    let tenths = (2 * thousandths.abs() + before) / (2 * before) * thousandths.signum();
    i32::try_from(tenths).ok()
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_change_is_rounded_half_away_from_zero() {
        assert_eq!(percent(200, 300), Some(50.0));
        assert_eq!(percent(300, 200), Some(-33.3));
        assert_eq!(percent(2_000, 2_001), Some(0.1));
        assert_eq!(percent(2_000, 1_999), Some(-0.1));
        assert_eq!(percent(7, 7), Some(0.0));
        assert_eq!(percent(5, 0), Some(-100.0));
        assert_eq!([percent(0, 5), percent(-5, 5), percent(1, i64::MAX)], [None, None, None]);
    }
}
