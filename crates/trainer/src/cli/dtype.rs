//! Names of float dtypes on the command line.
use anyhow::anyhow;
use burn::tensor::{DType, Device};

use crate::{Result, error::Sort};

const NAMED: [(&str, DType); 4] =
    [("f64", DType::F64), ("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];

/// The dtype of this name.
///
/// # Errors
/// If there is none; the message lists those there are.
pub fn parse(text: &str) -> Result<DType, String> {
    let found = NAMED.iter().find(|(name, _)| *name == text).map(|(_, dtype)| *dtype);
    found.ok_or_else(|| format!("expected one of {}", NAMED.map(|(name, _)| name).join(", ")))
}

/// Every name.
pub fn names() -> [&'static str; 4] {
    NAMED.map(|(name, _)| name)
}

/// The name of a dtype.
pub fn name(dtype: DType) -> &'static str {
    NAMED.iter().find(|(_, named)| *named == dtype).map_or("another dtype", |(name, _)| name)
}

/// Refuses a dtype that the device does not compute in.
///
/// # Errors
/// If it does not; the message lists those it does.
pub fn check(device: &Device, dtype: DType) -> Result<()> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    let others: Vec<&str> =
        NAMED.iter().filter(|(_, dtype)| device.supports_dtype(*dtype)).map(|(name, _)| *name).collect();
    Err(anyhow!("this device does not compute in {}; it does in: {}", name(dtype), others.join(", "))).input()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        for (text, dtype) in NAMED {
            assert_eq!((parse(text), name(dtype)), (Ok(dtype), text));
        }
        assert_eq!(parse("f8").unwrap_err(), "expected one of f64, f32, f16, bf16");
    }
}
