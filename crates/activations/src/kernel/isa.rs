//! Choosing the instruction set at run time.
//!
//! A [`Job`] is plain generic Rust. It is compiled once per instruction set, and the compiler puts it into vectors
//! of that width. Nothing else differs: sums have a fixed order and every fused multiply-add is written out, so
//! all of them give the same bits.

/// Work that profits from wide vectors.
pub trait Job {
    /// What it gives back.
    type Out;
    /// Does it. Implementations, and what they call in their loops, are `#[inline(always)]`; code that is not
    /// inlined is compiled for the baseline CPU.
    fn run(self) -> Self::Out;
}

/// An instruction set that this CPU was found to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// What the program was compiled for.
    Baseline,
    /// x86 with 256-bit vectors and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86 with 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Every instruction set of this CPU, the best one first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = [Level::Avx512, Level::Avx2, Level::Baseline];
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Level::Baseline];
        levels.into_iter().filter(|level| level.present()).map(Self)
    }

    /// The best instruction set of this CPU.
    #[inline]
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self(Level::Baseline))
    }
}

impl Level {
    #[inline]
    fn present(&self) -> bool {
        match self {
            Self::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("fma")
            }
        }
    }
}

/// Does `job` with the best instruction set of this CPU.
#[inline]
pub fn run<J: Job>(job: J) -> J::Out {
    run_on(Isa::best(), job)
}

/// Does `job` with the given instruction set.
#[inline]
pub(crate) fn run_on<J: Job>(isa: Isa, job: J) -> J::Out {
    match isa.0 {
        Level::Baseline => job.run(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` is only made where the CPU reports every feature that the function enables.
        Level::Avx2 => unsafe { x86::avx2(job) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { x86::avx512(job) },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Job;

    // SAFETY: callers ensure that the CPU has avx2 and fma.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2<J: Job>(job: J) -> J::Out {
        job.run()
    }

    // SAFETY: callers ensure that the CPU has the four avx512 sets and fma.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
    pub(super) unsafe fn avx512<J: Job>(job: J) -> J::Out {
        job.run()
    }
}
