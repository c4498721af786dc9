//! Sixteen floats at a time, with the instructions of one CPU generation.
use std::arch::x86_64::*;

/// Lanes of a vector: the layouts of the kernels are the same for every instruction set.
pub(super) const LANES: usize = 16;

/// Arithmetic on 16 lanes. Each lane sees the same operations in the same order whatever the instructions, so all of them give
/// the same bits.
///
/// # Safety
/// Every method asks that the CPU has the instruction set ([`Vector::present`]); pointers need 16 readable or writable floats.
pub(super) trait Vector {
    /// 16 lanes.
    type V: Copy;

    /// Whether this CPU has the instructions.
    fn present() -> bool;
    /// 16 zeros.
    unsafe fn zero() -> Self::V;
    /// Reads 16 values, aligned or not.
    unsafe fn load(from: *const f32) -> Self::V;
    /// Writes 16 values, aligned or not.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// `a + b`
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `s v + sum`, rounded once.
    unsafe fn fma(s: f32, v: Self::V, sum: Self::V) -> Self::V;
    /// Writes P vectors with their lanes outermost: lane l of vector p to `16 P` values at `to`, place `l P + p`. P is a
    /// power of two.
    unsafe fn transpose<const P: usize>(v: [Self::V; P], to: *mut f32);
}

/// 512-bit vectors.
#[derive(Debug)]
pub(super) struct Avx512;

impl Vector for Avx512 {
    type V = __m512;

    fn present() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller promises the instruction set and 16 readable values.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        // SAFETY: the caller promises the instruction set and 16 writable values.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(s: f32, v: __m512, sum: __m512) -> __m512 {
        // SAFETY: the caller promises the instruction set.
        unsafe { _mm512_fmadd_ps(_mm512_set1_ps(s), v, sum) }
    }

    #[inline(always)]
    unsafe fn transpose<const P: usize>(mut v: [__m512; P], to: *mut f32) {
        // SAFETY: the caller promises the instruction set and 16 P writable values.
        unsafe {
            // Interleaving the first half of the vectors with the second rotates the bits of a value's place by one; after
            // log2 P rounds the number of the vector stands below that of the lane.
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            let mut round = 1;
            while round < P {
                let mut next = [_mm512_setzero_ps(); P];
                for i in 0..P / 2 {
                    next[2 * i] = _mm512_permutex2var_ps(v[i], low, v[i + P / 2]);
                    next[2 * i + 1] = _mm512_permutex2var_ps(v[i], high, v[i + P / 2]);
                }
                v = next;
                round *= 2;
            }
            for (i, v) in v.into_iter().enumerate() {
                _mm512_storeu_ps(to.add(i * LANES), v);
            }
        }
    }
}

/// Pairs of 256-bit vectors.
#[derive(Debug)]
pub(super) struct Avx2;

impl Vector for Avx2 {
    type V = [__m256; 2];

    fn present() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    #[inline(always)]
    unsafe fn zero() -> [__m256; 2] {
        // SAFETY: the caller promises the instruction set.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [__m256; 2] {
        // SAFETY: the caller promises the instruction set and 16 readable values.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [__m256; 2]) {
        // SAFETY: the caller promises the instruction set and 16 writable values.
        unsafe {
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        }
    }

    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the caller promises the instruction set.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn fma(s: f32, v: [__m256; 2], sum: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the caller promises the instruction set.
        unsafe {
            let s = _mm256_set1_ps(s);
            [_mm256_fmadd_ps(s, v[0], sum[0]), _mm256_fmadd_ps(s, v[1], sum[1])]
        }
    }

    #[inline(always)]
    unsafe fn transpose<const P: usize>(v: [[__m256; 2]; P], to: *mut f32) {
        let mut lanes = [[0.0f32; LANES]; P];
        for (lanes, v) in lanes.iter_mut().zip(v) {
            // SAFETY: the caller promises the instruction set; `lanes` has 16 values.
            unsafe { Self::store(lanes.as_mut_ptr(), v) }
        }
        for l in 0..LANES {
            for (p, lanes) in lanes.iter().enumerate() {
                // SAFETY: l P + p < 16 P, which the caller promises to be writable.
                unsafe { *to.add(l * P + p) = lanes[l] }
            }
        }
    }
}
