//! Everything there is to check, by name.
use kiln_registry::Tagged;
use serde::de::value::{Error, MapDeserializer};

use super::{Finding, Setting, check_loss, check_map, check_pointwise, dtype_name, pass::host};
use crate::{Init, loss::LossConfig, normalizer::NormalizerConfig, pointwise::PointwiseConfig};

/// One thing that can be checked. What joins a registry is among the [entries] by being there.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A map at its default parameters.
    Map(NormalizerConfig),
    /// A pointwise function at its default parameters.
    Pointwise(PointwiseConfig),
    /// A loss, through the map of this name if it is built on one.
    Loss {
        /// `cross_entropy`
        name: &'static str,
        /// `softmax`
        normalizer: Option<&'static str>,
    },
}

/// Every map, every pointwise function and every loss; a loss that is built on a map appears once with each map that fits.
pub fn entries() -> Vec<Entry> {
    let maps = NormalizerConfig::NAMES.iter().filter_map(|name| NormalizerConfig::by_name(name)).map(Entry::Map);
    let losses = LossConfig::NAMES.iter().flat_map(|&name| {
        let through: Vec<Entry> = NormalizerConfig::NAMES
            .iter()
            .filter(|map| loss(name, Some(map), "f32").is_some_and(|config| config.check().is_ok()))
            .map(|&map| Entry::Loss { name, normalizer: Some(map) })
            .collect();
        if through.is_empty() { vec![Entry::Loss { name, normalizer: None }] } else { through }
    });
    let functions =
        PointwiseConfig::NAMES.iter().filter_map(|name| PointwiseConfig::by_name(name)).map(Entry::Pointwise);
    maps.chain(functions).chain(losses).collect()
}

impl Entry {
    /// `softmax`, `cross_entropy(softmax)`.
    pub fn name(&self) -> String {
        match self {
            Self::Map(config) => config.name().into(),
            // `sigmoid` is a map as well.
            Self::Pointwise(config) => format!("pointwise({})", config.name()),
            Self::Loss { name, normalizer: None } => (*name).into(),
            Self::Loss { name, normalizer: Some(map) } => format!("{name}({map})"),
        }
    }

    /// The names a user may know it by: its own, and for a loss also that of the loss alone.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Loss { name, normalizer: Some(_) } => vec![self.name(), (*name).into()],
            Self::Pointwise(config) => vec![self.name(), config.name().into(), "pointwise".into()],
            _ => vec![self.name()],
        }
    }

    /// Checks it. A loss is computed in the precision of the logits, in `f32` for bf16.
    ///
    /// # Panics
    /// If the device cannot run it, or no host backend is compiled in.
    pub fn check(&self, setting: &Setting) -> Vec<Finding> {
        let name = self.name();
        let on_device = Init::new(0, &setting.device, setting.dtype);
        match self {
            Self::Map(config) => check_map(&name, &*config.init(&on_device), setting),
            Self::Pointwise(config) => check_pointwise(&name, &config.init(&on_device), setting),
            Self::Loss { name: loss_name, normalizer } => {
                let dtype = match dtype_name(setting.dtype) {
                    "bf16" => "f32",
                    same => same,
                };
                let config = loss(loss_name, *normalizer, dtype).expect("the entry was made from what loads");
                let on_host = Init::new(0, &host(), setting.dtype);
                check_loss(&name, &*config.init(&on_device), &*config.init(&on_host), setting)
            }
        }
    }
}

/// The loss of this name in this precision; `None` if it takes no such key.
fn loss(name: &str, normalizer: Option<&str>, dtype: &str) -> Option<LossConfig> {
    let keys = [("dtype", Some(dtype)), ("normalizer", normalizer)];
    let keys = keys.into_iter().filter_map(|(key, value)| value.map(|value| (key, value)));
    LossConfig::load(name, MapDeserializer::<_, Error>::new(keys)).ok()
}
