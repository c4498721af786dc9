//! Decoding in pieces: token after token, with what came before remembered.
use burn::tensor::{Bool, Int, Tensor, TensorData};
use kiln_activations::Ctx;

use super::Decoder;
use crate::{
    Ask, Input,
    attention::{LayerState, Pattern, Remember, Side},
};

/// What a decoder remembers of the tokens so far.
#[derive(Clone, Debug)]
pub struct DecoderState {
    layers: Vec<LayerState>,
    /// Tokens so far, padding included.
    length: usize,
    /// How many of them are padding, if some are: `[rows, 1]`.
    padding: Option<Tensor<2, Int>>,
}

impl Remember for DecoderState {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            layers: self.layers.into_iter().map(|layer| layer.select(rows)).collect(),
            length: self.length,
            padding: self.padding.map(|padding| padding.select(0, rows.clone())),
        }
    }

    fn reset(self) -> Self {
        Self { layers: self.layers.into_iter().map(LayerState::reset).collect(), length: 0, padding: None }
    }

    fn bytes(&self) -> usize {
        self.layers.iter().map(LayerState::bytes).sum()
    }
}

impl Decoder {
    /// The state before the first token of `rows` sequences.
    pub fn state(&self, rows: usize) -> DecoderState {
        let layers = self.blocks.iter().map(|block| block.attention.state(rows)).collect();
        DecoderState { layers, length: 0, padding: None }
    }

    /// Logits at new tokens that come after `state`, and the state after them. The tokens of a sequence may come at once,
    /// one by one or in any pieces; the logits are those of [`Network::forward`].
    ///
    /// # Shapes
    /// - tokens: `[rows, new]`; kept: `[rows, new]`, `true` = not padding, which may stand on the left of the first
    ///   piece; logits: `[rows, new, outputs]`
    /// # Panics
    /// If the network was built for vectors, or documents are told apart.
    pub fn extend(
        &self,
        tokens: Tensor<2, Int>,
        kept: Option<Tensor<2, Bool>>,
        state: DecoderState,
        ctx: &Ctx,
    ) -> (Tensor<3>, DecoderState) {
        assert!(self.pattern.separator().is_none(), "documents are told apart in whole rows only");
        let [rows, new] = tokens.dims();
        let device = tokens.device();
        assert!(kept.is_none() || state.length == 0, "padding stands on the left of the first piece only");
        let (side, padding) = match (kept, state.padding) {
            (Some(kept), _) => {
                let padding = kept.clone().bool_not().int().sum_dim(1);
                (Side::padded(kept), Some(padding))
            }
            (None, Some(padding)) => {
                let side = Side::range(state.length, new, &device);
                let places = side.places.expand([rows, new]) - padding.clone().expand([rows, new]);
                (Side { places, start: None, kept: None, documents: None }, Some(padding))
            }
            (None, None) => (Side::range(state.length, new, &device), None),
        };
        let length = state.length + new;
        let mut x = self.positions.place(self.embed(&Input::Tokens(tokens)), &side);
        let pattern: Pattern = self.pattern.pattern();
        let mut layers = Vec::with_capacity(state.layers.len());
        for (i, (block, layer)) in self.blocks.iter().zip(state.layers).enumerate() {
            let (y, layer) = block.extend(x, layer, &side, pattern, &ctx.child("blocks").child(&i.to_string()));
            x = y;
            layers.push(layer);
        }
        let [_, _, d_model] = x.dims();
        let logits = self.logits(x.reshape([rows * new, d_model]), &Ask::row(), ctx);
        let [_, outputs] = logits.dims();
        (logits.reshape([rows, new, outputs]), DecoderState { layers, length, padding })
    }

    /// The tokens of largest logit after a prompt, one after the other: `[rows, count]`.
    ///
    /// # Panics
    /// As [`Decoder::extend`]; and if the outputs are not the vocabulary.
    pub fn greedy(&self, prompt: Tensor<2, Int>, count: usize, ctx: &Ctx) -> Tensor<2, Int> {
        let [rows, _] = prompt.dims();
        let (mut state, mut tokens, mut found) = (self.state(rows), prompt, Vec::with_capacity(count));
        for _ in 0..count {
            let (logits, next) = self.extend(tokens, None, state, ctx);
            let [_, new, outputs] = logits.dims();
            state = next;
            tokens = logits.narrow(1, new - 1, 1).reshape([rows, outputs]).argmax(1);
            found.push(tokens.clone());
        }
        match found.is_empty() {
            true => Tensor::from_data(TensorData::new(Vec::<i64>::new(), [rows, 0]), &tokens.device()),
            false => Tensor::cat(found, 1),
        }
    }
}
