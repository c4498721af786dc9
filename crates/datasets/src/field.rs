//! Arithmetic modulo a prime.

/// Whether `n` is prime, by trial division.
pub fn is_prime(n: usize) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// The largest prime below and the smallest prime above `n`; `n` at least 3.
pub fn neighbouring_primes(n: usize) -> (usize, usize) {
    let below = (2..n).rev().find(|&m| is_prime(m)).unwrap_or(2);
    let above = (n + 1..).find(|&m| is_prime(m)).unwrap_or(n);
    (below, above)
}

/// `base^exponent mod p`.
fn power(base: usize, mut exponent: usize, p: usize) -> usize {
    let (mut result, mut square) = (1 % p, base % p);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * square % p;
        }
        square = square * square % p;
        exponent /= 2;
    }
    result
}

/// `b⁻¹` modulo a prime `p`, by Fermat's little theorem `b^(p−2)`; `b` not a multiple of `p`.
pub fn inverse(b: usize, p: usize) -> usize {
    power(b, p - 2, p)
}

/// 1, g, g², …, g^(p−2) modulo a prime `p`, where g is the smallest primitive root.
pub fn powers_of_primitive_root(p: usize) -> Vec<usize> {
    let powers = |g: usize| {
        let mut powers = vec![1];
        let mut next = g;
        while next != 1 {
            powers.push(next);
            next = next * g % p;
        }
        powers
    };
    // A prime's multiplicative group is cyclic, so some g reaches all p − 1 elements.
    (1..p).map(powers).find(|powers| powers.len() == p - 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_up_to_30() {
        let primes: Vec<_> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(113) && !is_prime(121));
        assert_eq!((neighbouring_primes(100), neighbouring_primes(4)), ((97, 101), (3, 5)));
    }

    #[test]
    fn primitive_roots() {
        assert_eq!(powers_of_primitive_root(7), [1, 3, 2, 6, 4, 5]);
        assert_eq!(powers_of_primitive_root(2), [1]);
        assert_eq!(powers_of_primitive_root(3), [1, 2]);
        // 113 has the smallest primitive root 3.
        assert_eq!(powers_of_primitive_root(113)[1], 3);
    }

    #[test]
    fn inverses_multiply_to_one() {
        for p in [2, 3, 7, 59, 113] {
            assert!((1..p).all(|b| inverse(b, p) * b % p == 1), "p = {p}");
        }
    }
}
