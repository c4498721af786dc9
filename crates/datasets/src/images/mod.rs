//! Data sets of images that are fetched: what all of them can do.
pub mod augment;
mod config;
pub mod corrupt;
mod resample;
mod source;
mod subset;

pub use config::{ImagesConfig, Normalise};
