//! How long the way back takes.
use std::{cell::Cell, time::Instant};

use burn::tensor::Device;

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `steps`, in which a device that works behind the program's back is waited for before and after each way back, so that
/// its time is its own. Slower than training; for profiles.
pub fn waiting<T>(steps: impl FnOnce() -> T) -> T {
    WAITS.set(true);
    let result = steps();
    WAITS.set(false);
    result
}

/// What `way_back` gives, and its seconds.
pub(super) fn time<T>(device: &Device, way_back: impl FnOnce() -> T) -> (T, f64) {
    let wait = || {
        if WAITS.get() {
            // A device that fails here fails at the next value that is read from it, with its own message.
            let _ = device.sync();
        }
    };
    wait();
    let start = Instant::now();
    let result = way_back();
    wait();
    (result, start.elapsed().as_secs_f64())
}
