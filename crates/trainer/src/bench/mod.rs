//! Measuring speed: how near an operation comes to what the memory can carry.
pub mod activations;
pub mod memory;
