//! Where a run happened.
use serde::{Deserialize, Serialize};

/// Machine, code and threads of a process, written beside every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Kiln's version.
    pub kiln: String,
    /// SHA-256 of the code, see [`crate::CODE_HASH`].
    pub code: String,
    /// Start of the process, with its zone.
    pub started: String,
    /// Operating system and processor architecture.
    pub platform: String,
    /// The processor's own name.
    pub cpu: String,
    /// Vector extensions that the kernels look for and that are present.
    pub cpu_features: Vec<String>,
    /// Cores the process may use.
    pub cores: usize,
    /// Worker threads in use.
    pub threads: usize,
}

impl Environment {
    /// This process.
    pub fn here() -> Self {
        Self {
            kiln: env!("CARGO_PKG_VERSION").into(),
            code: crate::CODE_HASH.into(),
            started: jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu_name(),
            cpu_features: cpu_features(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
        }
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned())
}

fn cpu_features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.iter().filter(|(_, present)| *present).map(|(name, _)| (*name).to_owned()).collect()
}
