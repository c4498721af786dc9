//! Measuring speed and memory: how near an operation comes to what the machine can do, and what a layer costs.
pub mod activations;
pub mod attention;
pub mod memory;
pub mod profile;
pub mod step;
pub mod values;
