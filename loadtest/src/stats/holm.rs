//! Many questions to one pair of results: how likely is a false alarm among all of them.

/// Holm's adjusted p values, in the order given: each may be compared with the level for the whole family
/// (S. Holm, "A simple sequentially rejective multiple test procedure", 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|first, second| p_values[*first].total_cmp(&p_values[*second]));
    let mut adjusted = vec![0.0; count];
    let mut largest = 0.0_f64;
    for (place, which) in order.into_iter().enumerate() {
        largest = largest.max(((count - place) as f64 * p_values[which]).min(1.0));
        adjusted[which] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    /// R: `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` is 0.03 0.06 0.06 0.02.
    #[test]
    fn adjusted_as_r_does() {
        let adjusted = super::holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(super::holm(&[]).is_empty());
    }
}
