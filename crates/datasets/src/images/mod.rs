//! Data sets of images that are fetched: what all of them can do.
mod config;
mod source;
mod subset;

pub use config::{ImagesConfig, Normalise};
