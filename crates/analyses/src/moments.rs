//! Optimizer state that has rounded away.
use crate::statistics;

/// Share of parameters whose second moment is exactly 0 while the first is not.
///
/// Adam divides by the root of the second moment, so there only its epsilon decides the length of the step.
/// `tensors` are pairs of first and second moments of one tensor each.
///
/// # Panics
/// If the two moments of a tensor differ in length.
pub fn v_zero<'a>(tensors: impl IntoIterator<Item = (&'a [f64], &'a [f64])>) -> f64 {
    let flags = tensors.into_iter().flat_map(|(first, second)| {
        assert_eq!(first.len(), second.len(), "both moments of a tensor have its length");
        // 1 = rounded away, 0 = not; a NaN in either stays one.
        first
            .iter()
            .zip(second)
            .map(|(&m, &v)| if (m + v).is_nan() { f64::NAN } else { f64::from(u8::from(v == 0.0 && m != 0.0)) })
    });
    statistics::share(flags, |flag| flag == 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_over_all_tensors() {
        let share = v_zero([(&[1.0, 0.0, 2.0][..], &[0.0, 0.0, 1e-45][..]), (&[-1.0], &[-0.0])]);
        assert_eq!(share, 2.0 / 4.0);
    }

    #[test]
    fn nothing_and_nan_give_nan() {
        assert!(v_zero([]).is_nan());
        assert!(v_zero([(&[f64::NAN, 1.0][..], &[0.0, 0.0][..])]).is_nan());
        assert!(v_zero([(&[0.0, 1.0][..], &[f64::NAN, 0.0][..])]).is_nan());
    }
}
