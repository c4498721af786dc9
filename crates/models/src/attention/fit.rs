//! Whether the slots of attention fit each other, the model and the data.
use kiln_activations::normalizer::NormalizerConfig;

use super::AttentionConfig;
use crate::{Invalid, position::Stage};

/// What attention is asked to fit.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Width of the model.
    pub d_model: usize,
    /// Tokens of the longest row.
    pub length: usize,
    /// Whether the network may not look ahead.
    pub causal: bool,
}

impl AttentionConfig {
    /// Whether the slots fit each other, the model and the data.
    ///
    /// # Errors
    /// The first slot that does not fit; the message says why and what does.
    pub fn check(&self, fit: Fit) -> Result<(), Invalid> {
        self.check_heads(fit.d_model)?;
        self.check_core(fit)?;
        self.check_position(fit)?;
        self.check_pattern(fit)?;
        let causal = self.pattern_in(fit.causal).is_causal();
        self.local_conv
            .as_ref()
            .map_or(Ok(()), |conv| conv.check(causal))
            .map_err(|invalid| inside("local_conv", invalid))
    }

    fn check_heads(&self, d_model: usize) -> Result<(), Invalid> {
        let heads = self.n_heads;
        if (self.d_head.is_none() || self.d_value.is_none()) && !d_model.is_multiple_of(heads) {
            let below = d_model / heads * heads;
            let near = if below == 0 { heads.to_string() } else { format!("{below} or {}", below + heads) };
            return Err(Invalid::new(
                "n_heads",
                format!("d_model = {d_model} is not a multiple of n_heads = {heads}; try d_model = {near}"),
            ));
        }
        let positive = [
            ("kv_heads", self.kv_heads),
            ("d_head", self.d_head),
            ("d_value", self.d_value),
            ("rank_qk", self.rank_qk),
            ("rank_v", self.rank_v),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == Some(0)) {
            return Err(Invalid::new(key, format!("{key} = 0; expected a whole number of at least 1")));
        }
        if let Some(kv) = self.kv_heads.filter(|kv| !heads.is_multiple_of(*kv)) {
            let fit: Vec<String> = (1..=heads).filter(|n| heads.is_multiple_of(*n)).map(|n| n.to_string()).collect();
            return Err(Invalid::new(
                "kv_heads",
                format!("{heads} query heads do not share {kv} key heads evenly; try {}", fit.join(", ")),
            ));
        }
        if self.scale.is_some_and(|scale| !(scale > 0.0 && scale.is_finite())) {
            return Err(Invalid::new("scale", "expected a finite number above 0".into()));
        }
        Ok(())
    }

    fn check_core(&self, fit: Fit) -> Result<(), Invalid> {
        let (core, properties) = (self.core.name(), self.core.properties());
        let [d_head, _] = self.widths(fit.d_model);
        if !properties.normalizer && self.normalizer != NormalizerConfig::default() {
            return Err(Invalid::new(
                "normalizer",
                format!(
                    "core \"{core}\" has no weights for \"{}\" to make; leave normalizer out, or core = \"scores\"",
                    self.normalizer.name()
                ),
            ));
        }
        if !properties.products {
            let asked =
                [("scale", self.scale.is_some()), ("learn_scale", self.learn_scale), ("logn", self.logn.is_some())];
            if let Some((key, _)) = asked.iter().find(|(_, set)| *set) {
                return Err(Invalid::new(
                    key,
                    format!("core \"{core}\" takes no products of queries and keys to scale; leave {key} out"),
                ));
            }
        }
        let causal = self.pattern_in(fit.causal).is_causal();
        self.core.check(d_head, causal).map_err(|invalid| inside("core", invalid))
    }

    fn check_position(&self, fit: Fit) -> Result<(), Invalid> {
        let [d_head, _] = self.widths(fit.d_model);
        let (core, properties) = (self.core.name(), self.core.properties());
        let name = self.position.name();
        let stage = self.position.stage();
        let fits = match stage {
            Stage::None => true,
            Stage::Embedding => {
                return Err(Invalid::new(
                    "position",
                    format!("\"{name}\" acts on token vectors; write positions = \"{name}\" in [model]"),
                ));
            }
            Stage::Rotation => properties.rotation,
            Stage::Bias => properties.bias,
            Stage::RotationAndBias => properties.rotation && properties.bias,
        };
        if !fits {
            let lacks = match stage {
                Stage::Rotation => "turns no queries and keys",
                Stage::RotationAndBias if !properties.rotation => "turns no queries and keys",
                _ => "adds no bias to scores",
            };
            let other = match (properties.rotation, properties.bias) {
                (true, false) => "\"rope\", \"selective_rope\" or \"none\"",
                (false, true) => "\"alibi\", \"learned_bias\" or \"none\"",
                _ => "\"none\"",
            };
            return Err(Invalid::new(
                "position",
                format!("core \"{core}\" {lacks}, as \"{name}\" needs; it takes {other}"),
            ));
        }
        self.position.check(fit.length, d_head).map_err(|invalid| inside("position", invalid))
    }

    fn check_pattern(&self, fit: Fit) -> Result<(), Invalid> {
        let pattern = self.pattern_in(fit.causal);
        let (core, properties) = (self.core.name(), self.core.properties());
        let name = pattern.name();
        if fit.causal && !pattern.is_causal() {
            return Err(Invalid::new(
                "pattern",
                format!("\"{name}\" shows a token what it is to predict; this network takes \"causal\" or \"window\""),
            ));
        }
        if pattern.is_causal() && !properties.causal {
            return Err(Invalid::new(
                "core",
                format!("core \"{core}\" has no causal form; use pattern = \"full\" in a network that may look ahead"),
            ));
        }
        if !matches!(pattern.name(), "full" | "causal") && !properties.patterns {
            return Err(Invalid::new(
                "pattern",
                format!("core \"{core}\" sums over keys and hides none of them; it takes \"full\" or \"causal\""),
            ));
        }
        Ok(())
    }
}

/// The setting of a table inside this one.
pub(crate) fn inside(table: &str, invalid: Invalid) -> Invalid {
    Invalid::new(&format!("{table}.{}", invalid.key), invalid.message)
}
