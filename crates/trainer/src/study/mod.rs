//! Studies: many runs, judged against what a paper claims.
pub mod plan;
pub mod pool;
