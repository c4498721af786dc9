//! Memory for a result, written once and passed over once.
use std::mem::MaybeUninit;

/// Results of at least so many bytes go past the caches: nothing of them would be left there by the time they are read,
/// and a store that goes past the caches does not read the line it replaces.
const STREAMED: usize = 16 << 20;

/// The memory of a result that is written block by block. It is not zeroed first: at the sizes that leave the caches,
/// zeroing costs as much as the map.
pub(crate) struct Fresh<S> {
    values: Vec<S>,
    len: usize,
}

impl<S: Copy> Fresh<S> {
    /// Memory for `len` values.
    pub(crate) fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len }
    }

    /// Whether the result is so large that it should go past the caches.
    pub(crate) fn streamed(&self) -> bool {
        self.len * size_of::<S>() >= STREAMED
    }

    /// The places to write.
    pub(crate) fn places(&mut self) -> &mut [MaybeUninit<S>] {
        &mut self.values.spare_capacity_mut()[..self.len]
    }

    /// The values.
    ///
    /// # Safety
    /// Every place must have been written.
    pub(crate) unsafe fn written(mut self) -> Vec<S> {
        // SAFETY: the capacity was asked for in `new`, and the caller wrote every place.
        unsafe { self.values.set_len(self.len) };
        self.values
    }
}

/// Writes `from` to `to`, of equal length, past the caches if asked to.
pub(crate) fn write<S: Copy>(from: &[S], to: &mut [MaybeUninit<S>], streamed: bool) {
    #[cfg(target_arch = "x86_64")]
    if streamed {
        return x86::stream(from, to);
    }
    let _ = streamed;
    to.write_copy_of_slice(from);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{
        arch::x86_64::{_mm_loadu_si128, _mm_sfence, _mm_stream_si128},
        mem::MaybeUninit,
    };

    /// Bytes of a cache line.
    const LINE: usize = 64;

    /// As [`super::write`], past the caches; what does not fill a line goes through them.
    pub(super) fn stream<S: Copy>(from: &[S], to: &mut [MaybeUninit<S>]) {
        assert_eq!(from.len(), to.len());
        let size = size_of::<S>();
        // The values in front of the first whole line; a size that never meets one is copied as a whole.
        let head = to.as_ptr().align_offset(LINE).min(to.len());
        let lines = (to.len() - head) * size / LINE;
        let body = if LINE.is_multiple_of(size) { lines * LINE / size } else { 0 };
        let (from_head, from_rest) = from.split_at(head);
        let (to_head, to_rest) = to.split_at_mut(head);
        to_head.write_copy_of_slice(from_head);
        let (from_body, from_tail) = from_rest.split_at(body);
        let (to_body, to_tail) = to_rest.split_at_mut(body);
        to_tail.write_copy_of_slice(from_tail);
        let (mut source, mut target) = (from_body.as_ptr().cast::<u8>(), to_body.as_mut_ptr().cast::<u8>());
        for _ in 0..size_of_val(from_body) / LINE {
            // SAFETY: both slices hold as many whole lines as this loop has turns. The target is aligned to a line by
            // the choice of `head`, the source need not be. SSE2 is part of x86-64.
            unsafe {
                for part in 0..LINE / 16 {
                    let value = _mm_loadu_si128(source.add(16 * part).cast());
                    _mm_stream_si128(target.add(16 * part).cast(), value);
                }
                source = source.add(LINE);
                target = target.add(LINE);
            }
        }
        // SAFETY: SSE is part of x86-64. The stores above are weakly ordered; the thread that takes the result over must
        // see them.
        unsafe { _mm_sfence() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_arrives_at_every_length_and_alignment() {
        fn check<S: Copy + PartialEq + std::fmt::Debug>(value: impl Fn(usize) -> S) {
            for len in [0usize, 1, 3, 15, 16, 17, 31, 64, 100, 257, 1000] {
                for offset in 0..5 {
                    let from: Vec<S> = (0..len + offset).map(&value).collect();
                    let mut fresh = Fresh::new(len + offset);
                    let (head, rest) = fresh.places().split_at_mut(offset);
                    write(&from[..offset], head, false);
                    write(&from[offset..], rest, true);
                    // SAFETY: the two parts are the whole.
                    assert_eq!(unsafe { fresh.written() }, from);
                }
            }
        }
        check(|i| i as f32);
        check(|i| i as f64);
        check(|i| half::f16::from_f32(i as f32));
        check(|i| [i as u8; 3]);
    }
}
