//! The SHA-256 of a file, where it is known.
use std::fmt;

use serde::{Deserialize, Deserializer, de::Error};
use sha2::{Digest, Sha256};

/// What a file's SHA-256 must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// 64 lower-case hexadecimal digits.
    Sha256(String),
    /// Nobody could say for certain; the file is checked by other means.
    Unknown,
}

impl Checksum {
    /// The checksum of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).as_slice())
    }

    /// The checksum with this digest of 32 bytes.
    pub fn from_digest(digest: &[u8]) -> Self {
        Self::Sha256(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether a file with checksum `found` may be this one; an unknown one may be any.
    pub fn admits(&self, found: &Self) -> bool {
        *self == Self::Unknown || self == found
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Sha256(digits) => f.write_str(digits),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match text.as_str() {
            "unknown" => Ok(Self::Unknown),
            digits if digits.len() == 64 && digits.chars().all(is_digit) => Ok(Self::Sha256(text)),
            other => Err(D::Error::custom(format!(
                "\"{other}\" is no SHA-256; expected 64 lower-case hexadecimal digits, or \"unknown\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_abc() {
        // FIPS 180-2, appendix B.1.
        let abc = Checksum::of(b"abc");
        assert_eq!(abc.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(abc.admits(&abc) && !abc.admits(&Checksum::of(b"abd")) && Checksum::Unknown.admits(&abc));
        let read = |text: &str| serde_json::from_str::<Checksum>(&format!("{text:?}"));
        assert_eq!(read(&abc.to_string()).unwrap(), abc);
        assert_eq!(read("unknown").unwrap(), Checksum::Unknown);
        for wrong in ["", "unknow", &"A".repeat(64), &"a".repeat(63)] {
            assert!(read(wrong).unwrap_err().to_string().contains("is no SHA-256"), "{wrong}");
        }
    }
}
