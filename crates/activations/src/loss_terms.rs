//! What parts of a network add to the training loss.
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;

/// Collects the terms that the parts of a network [`add_loss`](crate::Ctx::add_loss) during forward passes that carry it
/// (see [`Ctx::with_loss_terms`](crate::Ctx::with_loss_terms)). Clones share what they collect.
#[derive(Clone, Debug, Default)]
pub struct LossTerms(Arc<Mutex<Vec<LossTerm>>>);

/// One term of the training loss beside the loss itself.
#[derive(Clone, Debug)]
pub struct LossTerm {
    /// What it is, such as `svm_penalty`; its metric is `train_<name>`.
    pub name: String,
    /// Its value, with its weight, `[1]`; differentiated.
    pub value: Tensor<1>,
}

impl LossTerms {
    /// Everything added since the last call. Terms of one name, which equal parts of a network add, are summed.
    pub fn take(&self) -> Vec<LossTerm> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, name: &str, value: Tensor<1>) {
        let mut terms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match terms.iter_mut().find(|term| term.name == name) {
            Some(term) => term.value = term.value.clone() + value,
            None => terms.push(LossTerm { name: name.into(), value }),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::{Ctx, LossTerms};

    #[test]
    fn terms_of_one_name_are_summed_and_only_training_makes_them() {
        let terms = LossTerms::default();
        let value = |x: f32| Tensor::<1>::from_data([x], &Device::flex());
        let ctx = Ctx::train(0, 0).with_loss_terms(&terms);
        for (name, x) in [("penalty", 1.0), ("commitment", 0.5), ("penalty", 2.0)] {
            ctx.child("blocks").add_loss(name, || value(x));
        }
        let found: Vec<(String, f32)> =
            terms.take().into_iter().map(|term| (term.name, term.value.into_scalar::<f32>())).collect();
        assert_eq!(found, [("penalty".into(), 3.0), ("commitment".into(), 0.5)]);
        Ctx::eval(0, 0).with_loss_terms(&terms).add_loss("penalty", || panic!("nobody trains"));
        Ctx::train(0, 0).add_loss("penalty", || panic!("nobody asked"));
        assert!(terms.take().is_empty());
    }
}
