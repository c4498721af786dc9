//! What the machine's memory can do, and how much of it a process takes.
use std::{fs, path::Path, time::Instant};

use rayon::prelude::*;

/// Bytes of the last-level cache of the first core, as Linux tells; `None` where it does not.
pub fn last_level_cache() -> Option<u64> {
    last_level_below(Path::new("/sys/devices/system/cpu/cpu0/cache"))
}

fn last_level_below(folder: &Path) -> Option<u64> {
    let caches = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let read = |name: &str| fs::read_to_string(entry.as_ref().ok()?.path().join(name)).ok();
        if read("type")?.trim() == "Instruction" {
            return None;
        }
        let level: u32 = read("level")?.trim().parse().ok()?;
        Some((level, bytes(read("size")?.trim())?))
    });
    caches.max().map(|(_, bytes)| bytes)
}

/// `32768K`, `32M` or a bare number of bytes.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &size[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A copy of one block of memory to another, both touched before, by every thread of the pool at once: the yardstick for
/// operations that read one tensor and write another.
#[derive(Debug)]
pub struct Copy {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copy {
    /// Two blocks of `bytes` each.
    pub fn new(bytes: usize) -> Self {
        Self { from: vec![1; bytes], to: vec![2; bytes] }
    }

    /// Bytes that one copy moves: read and written.
    pub fn bytes(&self) -> u64 {
        2 * self.from.len() as u64
    }

    /// Copies so many times and returns the seconds one copy took.
    pub fn seconds(&mut self, times: usize) -> f64 {
        let piece = self.from.len().div_ceil(rayon::current_num_threads()).max(1);
        let start = Instant::now();
        for _ in 0..times {
            self.to
                .par_chunks_mut(piece)
                .zip(self.from.par_chunks(piece))
                .for_each(|(to, from)| to.copy_from_slice(from));
            std::hint::black_box(&mut self.to);
        }
        start.elapsed().as_secs_f64() / times as f64
    }
}

/// How far the memory of this process rises from here on, as Linux counts it: the resident pages, whatever holds them
/// (tensors, the allocator's reserve, stacks).
#[derive(Debug)]
pub struct Rise {
    before: u64,
}

impl Rise {
    /// Begins at what is resident now; `None` where the system does not tell, or does not let the peak be set back.
    pub fn begin() -> Option<Self> {
        // 5 sets the peak back to what is resident now (proc(5), since Linux 4.0).
        fs::write("/proc/self/clear_refs", "5").ok()?;
        Some(Self { before: of_this_process("VmRSS")? })
    }

    /// Bytes by which the highest point so far lies above the beginning.
    pub fn peak(&self) -> Option<u64> {
        Some(of_this_process("VmHWM")?.saturating_sub(self.before))
    }
}

/// Bytes that new work may take without swapping, as Linux estimates it; `None` where it does not.
pub fn available() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

fn of_this_process(name: &str) -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, name)
}

/// The bytes of a line such as `VmRSS:      1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let text = "Name:\tkiln\nVmHWM:\t    2048 kB\nVmRSS:\t     1024 kB\nThreads:\t3\n";
        assert_eq!((field(text, "VmHWM"), field(text, "VmRSS")), (Some(2 << 20), Some(1 << 20)));
        assert_eq!((field(text, "VmR"), field(text, "Threads")), (None, None));
    }

    #[test]
    fn sizes_as_linux_writes_them() {
        assert_eq!(bytes("32768K"), Some(32 << 20));
        assert_eq!(bytes("2M"), Some(2 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("12 potatoes"), None);
    }

    #[test]
    fn the_last_level_is_the_largest_that_holds_data() {
        let folder = tempfile::tempdir().unwrap();
        for (index, level, kind, size) in [
            (0, "1", "Data", "32K"),
            (1, "1", "Instruction", "64K"),
            (2, "2", "Unified", "1024K"),
            (3, "3", "Unified", "16M"),
        ] {
            let cache = folder.path().join(format!("index{index}"));
            fs::create_dir(&cache).unwrap();
            for (name, value) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(cache.join(name), format!("{value}\n")).unwrap();
            }
        }
        assert_eq!(last_level_below(folder.path()), Some(16 << 20));
        assert_eq!(last_level_below(&folder.path().join("none")), None);
    }

    #[test]
    fn a_copy_copies() {
        let mut copy = Copy::new(1001);
        copy.seconds(1);
        assert_eq!((copy.bytes(), &copy.to), (2002, &copy.from));
    }
}
