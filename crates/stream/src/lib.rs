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

    /// `k` different numbers of {0, …, n − 1} in random order, each choice and order as likely as any other.
    ///
    /// # Panics
    /// If `k` is above `n`.
    pub fn distinct(&mut self, k: usize, n: usize) -> Vec<usize> {
        assert!(k <= n, "{k} different numbers below {n} do not exist");
        let mut numbers: Vec<usize> = (0..n).collect();
        for i in 0..k {
            numbers.swap(i, i + self.below(n - i));
        }
        numbers.truncate(k);
        numbers
    }

    /// `n` shares that sum to 1, from the symmetric Dirichlet distribution: proportional to independent Gamma(`a`, 1).
    /// The smaller the concentration `a`, the fewer shares hold nearly everything; `a = 1` is uniform on the simplex.
    ///
    /// # Panics
    /// If `a` is not a finite number above 0.
    pub fn dirichlet(&mut self, a: f64, n: usize) -> Vec<f64> {
        assert!(a > 0.0 && a.is_finite(), "a concentration of {a} is not above 0");
        let logs: Vec<f64> = (0..n).map(|_| self.log_gamma_variate(a)).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / sum).collect()
    }

    /// The logarithm of a Gamma(`a`, 1) variate: it stays finite where the variate itself underflows. By Marsaglia and
    /// Tsang (2000), A simple method for generating gamma variables: Gamma(a) = Gamma(a + 1) · U^(1/a).
    fn log_gamma_variate(&mut self, a: f64) -> f64 {
        let d = a + 2.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        let log = loop {
            let x = self.normal();
            let base = 1.0 + c * x;
            if base <= 0.0 {
                continue;
            }
            let (v, log_v) = (base * base * base, 3.0 * libm::log(base));
            // 1 − u lies in (0, 1], so the logarithm is finite.
            if libm::log(1.0 - self.uniform()) < 0.5 * x * x + d - d * v + d * log_v {
                break libm::log(d) + log_v;
            }
        };
        log + libm::log(1.0 - self.uniform()) / a
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

    #[test]
    fn a_dirichlet_share_has_the_mean_and_the_variance_of_its_beta_distribution() {
        // A share of n is Beta(a, (n − 1) a): mean 1/n, variance (n − 1) / (n² (n a + 1)).
        for (a, n) in [(0.1, 8), (1.0, 3), (4.5, 5)] {
            let mut draws = Stream::new(5, "test").at(0);
            let count = 20_000;
            let firsts: Vec<f64> = (0..count)
                .map(|_| {
                    let shares = draws.dirichlet(a, n);
                    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares.iter().all(|&x| x >= 0.0));
                    shares[0]
                })
                .collect();
            let n = n as f64;
            let (mean, variance) = (1.0 / n, (n - 1.0) / (n * n * (n * a + 1.0)));
            let found = firsts.iter().sum::<f64>() / f64::from(count);
            let spread: Vec<f64> = firsts.iter().map(|x| (x - mean).powi(2)).collect();
            let found_variance = spread.iter().sum::<f64>() / f64::from(count);
            let error = |values: &[f64], mean: f64| {
                (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(count).powi(2)).sqrt()
            };
            assert!((found - mean).abs() < 5.0 * error(&firsts, mean), "a = {a}: mean {found}, expected {mean}");
            let bound = 5.0 * error(&spread, variance);
            assert!((found_variance - variance).abs() < bound, "a = {a}: variance {found_variance}, not {variance}");
        }
        // Shares whose variates underflow by far still sum to 1.
        let shares = Stream::new(5, "test").at(1).dirichlet(1e-4, 6);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{shares:?}");
    }

    proptest! {
        #[test]
        fn distinct_numbers_differ_and_all_of_them_are_a_permutation(n in 0usize..50, part in 0usize..50, seed: u64) {
            let mut draws = Stream::new(seed, "test").at(0);
            let mut some = draws.distinct(part.min(n), n);
            prop_assert!(some.iter().all(|&i| i < n));
            some.sort_unstable();
            some.dedup();
            prop_assert_eq!(some.len(), part.min(n));
            let mut all = draws.distinct(n, n);
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
        }

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
