//! Counter-based random streams: every draw of a run is a pure function of where it is made.
//!
//! A [`Stream`] is named by `(seed, purpose, path)`: its ChaCha8 key is the SHA-256 of the three. The
//! stream number is the training step, the word position the call within the step, so there is no
//! generator state to save: resuming at step 500 draws what an undisturbed run draws at step 500, on any
//! thread, platform and version. Transcendental functions come from a portable software implementation,
//! so normal deviates too are the same bits everywhere.
#![forbid(unsafe_code)]

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};
use sha2::{Digest, Sha256};

/// A named source of draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
    purpose: String,
    path: String,
}

impl Stream {
    /// The stream of `purpose` (such as `init`, `dropout`, `split`) in the run with this seed.
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self { seed, purpose: purpose.into(), path: String::new() }
    }

    /// The stream of a part of this one, such as a layer or a parameter.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, ..self.clone() }
    }

    /// The part's path from the root, dots between names.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The draws of one step.
    pub fn at(&self, step: u64) -> Draws {
        let mut hash = Sha256::new();
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        for part in [self.seed.to_le_bytes().as_slice(), self.purpose.as_bytes(), self.path.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
        rng.set_stream(step);
        Draws { rng, spare: None }
    }
}

/// A sequence of draws, made by [`Stream::at`].
#[derive(Debug)]
pub struct Draws {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Draws {
    /// A uniform 64-bit word.
    pub fn word(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Uniform on [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform on {0, …, n − 1}, without bias.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a draw below 0 does not exist");
        let n = n as u64;
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let word = self.word();
            if word < limit {
                return (word % n) as usize;
            }
        }
    }

    /// Standard normal (Box–Muller; pairs share two uniforms).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 − u lies in (0, 1], so the logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// A uniformly random permutation of {0, …, n − 1} (Fisher–Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_words_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let mut draws = Stream::new(7, "init").child("layer").at(3);
        assert_eq!([draws.word(), draws.word()], PINNED);
        assert_eq!(Stream::new(7, "init").child("layer").at(3).normal(), PINNED_NORMAL);
    }
    const PINNED: [u64; 2] = [12519994752773730342, 17316645982808808930];
    const PINNED_NORMAL: f64 = 1.3966584028533642;

    #[test]
    fn purpose_path_and_step_each_change_the_draws() {
        let base = Stream::new(1, "a").child("b").at(0).word();
        for mut other in [
            Stream::new(2, "a").child("b").at(0),
            Stream::new(1, "ab").at(0),
            Stream::new(1, "a").child("c").at(0),
            Stream::new(1, "a").child("b").at(1),
        ] {
            assert_ne!(base, other.word());
        }
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let mut draws = Stream::new(5, "test").at(0);
        let n = 100_000;
        let xs: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let mean = xs.iter().sum::<f64>() / n as f64;
        let variance = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        // Five standard errors: 5/√n and 5·√(2/n).
        assert!(mean.abs() < 0.0159 && (variance - 1.0).abs() < 0.0224, "{mean} {variance}");
    }

    proptest! {
        #[test]
        fn permutation_holds_each_index_once(n in 0usize..200, seed: u64) {
            let mut order = Stream::new(seed, "test").at(0).permutation(n);
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn below_stays_below(n in 1usize..1000, seed: u64) {
            let mut draws = Stream::new(seed, "test").at(0);
            prop_assert!((0..50).all(|_| draws.below(n) < n));
        }
    }
}
