//! Means of equal segments.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LandmarkSetting, Summarise, Summary};
use crate::{
    Invalid,
    attention::{Side, core::CoreInit},
};

/// Parameters of [`Segments`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentsConfig {
    /// Number of landmarks.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub m: usize,
}

impl Default for SegmentsConfig {
    /// 16, in the middle of what small images need.
    fn default() -> Self {
        Self { m: 16 }
    }
}

impl Entry for SegmentsConfig {
    const SUMMARY: &'static str = "means of equal segments of a row's tokens, padding left out";
    const PAPER: &'static str = "Xiong et al. 2021, arXiv:2102.03902";
}

impl SegmentsConfig {
    /// The landmarks.
    pub fn init(&self, _: &CoreInit<'_>) -> Segments {
        Segments { m: self.m }
    }
}

impl LandmarkSetting for SegmentsConfig {
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// Landmark s is the mean of the kept tokens whose rank r among the n kept ones has `⌊r m / n⌋ = s`. With fewer tokens than
/// landmarks some stand for none.
#[derive(Module, Debug)]
pub struct Segments {
    m: usize,
}

impl Summarise for Segments {
    fn summarise(&self, x: &Tensor<4>, side: &Side) -> Summary {
        let ([_, _, length, _], m) = (x.dims(), self.m);
        let device = x.device();
        let kept = match &side.kept {
            Some(kept) => kept.clone().int(),
            None => Tensor::<2, Int>::ones([1, length], &device),
        };
        let [rows, _] = kept.dims();
        let n = kept.clone().sum_dim(1).clamp_min(1);
        let rank = kept.clone().cumsum(1) - 1;
        let segment = (rank * m as i64) / n.expand([rows, length]);
        let whole = [rows, m, length];
        let segments = Tensor::<1, Int>::arange(0..m as i64, &device).reshape([1, m, 1]).expand(whole);
        let member = segment.unsqueeze_dim::<3>(1).expand(whole).equal(segments);
        let member = member.bool_and(kept.equal_elem(1).unsqueeze_dim::<3>(1).expand(whole));
        let member = member.float().cast(x.dtype()).unsqueeze_dim::<4>(1); // [rows, 1, m, length]
        let count = member.clone().sum_dim(3);
        let landmarks = (member / count.clone().clamp_min(1.0)).matmul(x.clone());
        let used = (side.kept.is_some() || length < m).then(|| count.greater_elem(0.0));
        Summary { landmarks, used }
    }
}
