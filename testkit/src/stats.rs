//! Percentiles and medians.

/// The value below which `share` (0 to 1) of `sorted` lie; the default of an empty slice.
pub fn percentile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

/// The middle one of `values`, in any order.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_elements_of_the_sample() {
        let sample: Vec<u32> = (1..=101).collect();
        assert_eq!(
            (percentile(&sample, 0.0), percentile(&sample, 0.5), percentile(&sample, 1.0)),
            (1, 51, 101)
        );
        assert_eq!(percentile::<u32>(&[], 0.5), 0);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
