//! Numbers in JSON, which has no NaN and no infinities: those are the strings `NaN`, `inf` and `-inf`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Number(f64),
    Text(String),
}

impl From<f64> for Wire {
    fn from(value: f64) -> Self {
        if value.is_finite() { Wire::Number(value) } else { Wire::Text(value.to_string()) }
    }
}

impl Wire {
    fn value<E: Error>(self) -> Result<f64, E> {
        match self {
            Wire::Number(value) => Ok(value),
            Wire::Text(text) => text.parse().map_err(|_| E::custom(format!("{text:?} is not a number"))),
        }
    }
}

/// End values by metric.
pub(super) mod values {
    use std::collections::BTreeMap;

    use super::*;

    type Values = BTreeMap<String, f64>;

    pub fn serialize<S: Serializer>(values: &Values, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().map(|(name, &value)| (name, Wire::from(value))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        let wire = BTreeMap::<String, Wire>::deserialize(deserializer)?;
        wire.into_iter().map(|(name, value)| Ok((name, value.value()?))).collect()
    }
}

/// Curves by metric.
pub(super) mod curves {
    use std::collections::BTreeMap;

    use super::*;

    type Curves = BTreeMap<String, Vec<(f64, f64)>>;

    pub fn serialize<S: Serializer>(curves: &Curves, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = |points: &[(f64, f64)]| -> Vec<(Wire, Wire)> {
            points.iter().map(|&(x, y)| (x.into(), y.into())).collect()
        };
        serializer.collect_map(curves.iter().map(|(name, points)| (name, wire(points))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Curves, D::Error> {
        let wire = BTreeMap::<String, Vec<(Wire, Wire)>>::deserialize(deserializer)?;
        let points = |points: Vec<(Wire, Wire)>| -> Result<Vec<_>, D::Error> {
            points.into_iter().map(|(x, y)| Ok((x.value()?, y.value()?))).collect()
        };
        wire.into_iter().map(|(name, curve)| Ok((name, points(curve)?))).collect()
    }
}
