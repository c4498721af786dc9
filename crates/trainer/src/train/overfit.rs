//! Training on one batch alone: whether network, loss and optimizer can learn anything together.
use serde::Serialize;

use super::engine::{Engine, host};
use crate::{run::metrics::Row, train::snapshot::Scored};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overfit {
    /// Steps that were made.
    pub steps: u64,
    /// Answers in the batch.
    pub answers: usize,
    /// Loss before the first step; none if it was not a finite number.
    pub first_loss: Option<f64>,
    /// Loss after the last one.
    pub last_loss: Option<f64>,
    /// The lowest loss on the way.
    pub lowest_loss: Option<f64>,
    /// Its step.
    pub lowest_step: u64,
    /// Share of right answers before the first step; none if they are no classes.
    pub first_accuracy: Option<f64>,
    /// Share of right answers after the last one.
    pub last_accuracy: Option<f64>,
    /// Whether the loss is lower after the last step than before the first.
    pub fell: bool,
}

/// Makes so many steps on the first batch; `each` is shown the loss before every step and after the last. Ends early where the
/// loss is not a number.
pub fn overfit(engine: &mut Engine, steps: u64, mut each: impl FnMut(&Row)) -> Overfit {
    engine.hold_first_batch();
    let mut result = Overfit {
        steps: 0,
        answers: 0,
        first_loss: None,
        last_loss: None,
        lowest_loss: None,
        lowest_step: 0,
        first_accuracy: None,
        last_accuracy: None,
        fell: false,
    };
    loop {
        let step = engine.state.step;
        let pass = engine.pass();
        let loss = host(&pass.loss)[0];
        let batch = engine.train_batch(step);
        let scored = Scored::new(engine.loss(), &pass.logits, batch.classes.as_deref());
        let mut row = Row::new(step);
        row.push("train_loss", loss);
        let accuracy = scored.accuracy();
        if let Some(accuracy) = accuracy {
            row.push("train_accuracy", accuracy);
        }
        each(&row);
        let finite = loss.is_finite().then_some(loss);
        if step == 0 {
            (result.first_loss, result.first_accuracy) = (finite, accuracy);
            result.answers = scored.matrix().rows();
        }
        (result.steps, result.last_loss, result.last_accuracy) = (step, finite, accuracy);
        if let Some(loss) = finite.filter(|loss| result.lowest_loss.is_none_or(|lowest| *loss < lowest)) {
            (result.lowest_loss, result.lowest_step) = (Some(loss), step);
        }
        if step >= steps || loss.is_nan() {
            break;
        }
        engine.advance(pass);
    }
    result.fell = matches!((result.first_loss, result.last_loss), (Some(first), Some(last)) if last < first);
    result
}
