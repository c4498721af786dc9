//! Which entries of a row take part.
use burn::{
    backend::Dispatch,
    tensor::{Bool, Device, Int, Tensor},
};

use super::RowKeep;

/// Which entries of each row take part; the others are removed, not filled.
///
/// Causal attention with right padding is [`Keep::Prefix`]: it needs no mask tensor.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Every entry.
    All,
    /// The first `count[row]` entries of each row (`[rows]`); a count beyond the row keeps it whole.
    Prefix(Tensor<1, Int>),
    /// `true` = keep (`[rows, n]`).
    Mask(Tensor<2, Bool>),
}

impl Keep {
    /// The same choice as a mask `[rows, n]`; `None` where everything is kept.
    pub fn mask(&self, [rows, n]: [usize; 2], device: &Device) -> Option<Tensor<2, Bool>> {
        match self {
            Self::All => None,
            Self::Mask(mask) => Some(mask.clone()),
            Self::Prefix(count) => {
                let place = Tensor::<1, Int>::arange(0..n as i64, device).cast(count.dtype());
                let place = place.unsqueeze_dim::<2>(0).expand([rows, n]);
                Some(place.lower(count.clone().unsqueeze_dim::<2>(1).expand([rows, n])))
            }
        }
    }

    pub(super) fn to_dispatch(&self) -> RowKeep<Dispatch> {
        match self {
            Self::All => RowKeep::All,
            Self::Prefix(count) => RowKeep::Prefix(count.clone().into_dispatch()),
            Self::Mask(mask) => RowKeep::Mask(mask.clone().into_dispatch()),
        }
    }
}
