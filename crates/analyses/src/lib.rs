//! Measures of trained networks: numbers in, numbers out.
//!
//! Every function is pure and works on host `f64` arrays, whatever device and precision they came from; a
//! comparison with exactly 0 or 1 therefore means the value in its own dtype, since widening is exact.
//!
//! | module | question | names |
//! |---|---|---|
//! | [`collapse`] | has the loss rounded away? | `zero_loss`, `s_is_one`, `target_grad_zero`, `row_grad_zero`, `rowsum_defect` |
//! | [`logits`] | how large are the scores? | `logit_norm`, `logit_norm_c`, `logit_max` |
//! | [`margin`] | how far ahead is the target? | `margin_q` |
//! | [`accuracy`] | how often is it right? | `accuracy` |
//! | [`calibration`] | does it know how often? | confidence, calibration errors, Brier score |
//! | [`alignment`] | do gradient and update only scale the weights? | `nlm_grad`, `nlm_update`, `norm_growth`, norms |
//! | [`attention`] | does a head select or disperse? | `largest_weight`, `zero_share`, `dead_rows` |
//! | [`sinks`] | does a head rest on the first key? | sink rate, weight on key 0 |
//! | [`outliers`] | are a few hidden values far larger than the rest? | largest value, kurtosis |
//! | [`moments`] | has the optimizer's state rounded away? | `v_zero` |
//! | [`fourier`] | does an embedding use few frequencies? | `top5`, `gini`, `restricted_loss`, `excluded_loss` |
//! | [`statistics`] | what do several numbers say? | mean, deviation, quantiles |
//! | [`seeds`] | what do several seeds say, alone and against a baseline? | t interval, paired difference, p value |
//! | [`student_t`] | how far does chance reach with few values? | critical value, two-sided p value |
//! | [`holm`](mod@holm) | what is left of p values when many were looked at? | corrected p values |
//!
//! # Degenerate input
//! A NaN in what a measure reads makes the measure NaN; so does an empty set, where a mean, share or quantile
//! does not exist. Exceptions are named where they are made. Shapes that do not fit are a slip in the calling
//! program and panic.
#![forbid(unsafe_code)]

pub mod accuracy;
pub mod alignment;
pub mod attention;
pub mod calibration;
pub mod collapse;
pub mod fourier;
pub mod holm;
pub mod logits;
pub mod margin;
mod matrix;
pub mod moments;
pub mod outliers;
pub mod seeds;
pub mod sinks;
pub mod statistics;
pub mod student_t;

pub use matrix::Matrix;
