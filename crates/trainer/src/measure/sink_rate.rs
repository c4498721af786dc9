//! Do heads rest on the first token?
use std::collections::HashSet;

use kiln_analyses::{Matrix, sinks::Sinks};
use kiln_config::nearest;
use kiln_datasets::Asks;
use kiln_models::At;
use kiln_registry::range;

use super::{
    attention::attends,
    group_accuracy::{group_names, publishes},
    *,
};

/// Parameters of the sink rate.
///
/// Of each layer i of attention (from 0, as the network runs them) two metrics: `<set>_layer<i>_sink_rate`, the share of heads
/// whose mean weight on the first key exceeds `threshold`, and `<set>_layer<i>_sink_weight`, the mean over heads of that mean
/// weight. `<set>_sink_rate` is the largest rate of the layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkRate {
    /// A head whose mean weight on the first key exceeds this has a sink.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
    /// The first position whose queries count: before it there are few keys, and the first has a large share anyway.
    pub from: usize,
    /// The group of answers at whose tokens queries count, such as those without a rule; all of them if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Default for SinkRate {
    fn default() -> Self {
        Self { threshold: 0.3, from: 8, group: None }
    }
}

impl Entry for SinkRate {
    const SUMMARY: &'static str = "share of each layer's heads that rest on the first token";
    const PAPER: &'static str = "Guo et al. 2024, Active-Dormant Attention Heads, arXiv:2410.13835";
}

impl Measure for SinkRate {
    fn check(&self, context: &Context) -> Result<(), String> {
        attends(context)?;
        let Some(group) = &self.group else { return Ok(()) };
        if !matches!(context.source.spec().asks, Asks::Tokens { .. }) {
            return Err("a group says at which tokens queries count, and the data asks for one answer per row; leave \
                        group out"
                .into());
        }
        if !publishes(context, |known| known.name == *group) {
            let known = group_names(context);
            if known.is_empty() {
                return Err(format!("group = \"{group}\", but the data tells no groups apart; leave group out"));
            }
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = nearest(group, &known).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            return Err(format!("the data has no group \"{group}\"; expected one of {}{hint}", known.join(", ")));
        }
        Ok(())
    }

    fn watch(&self, set: &Set) -> Option<Box<dyn Watcher>> {
        let counted = self.group.as_ref().map(|name| {
            let At::Places(places) = &set.batch.ask.at else { unreachable!("refused by the check") };
            let places: Vec<usize> = places.to_data().iter::<i64>().map(|place| place as usize).collect();
            let groups = set.source.groups(set.split).iter().filter(|group| group.name == *name);
            groups.flat_map(|group| &group.answers).map(|&answer| places[answer]).collect()
        });
        Some(Box::new(Layers { of: self.clone(), counted, layers: PerPart::default() }))
    }
}

/// The sinks of each layer on one evaluation set.
struct Layers {
    of: SinkRate,
    /// The tokens whose queries count, `row · length + position`; all if `None`.
    counted: Option<HashSet<usize>>,
    layers: PerPart<Sinks>,
}

impl Watcher for Layers {
    fn wants(&self) -> &'static str {
        "attention"
    }

    fn see(&mut self, seen: &Seen) {
        let [rows, heads, queries, keys] = seen.record.shape[..] else {
            unreachable!("attention weights are recorded as [rows, heads, queries, keys]")
        };
        let weights = seen.rows();
        let sinks = self.layers.of(&seen.record.path);
        for (i, of_head) in weights.values().chunks_exact(queries * keys).enumerate().take(rows * heads) {
            let (row, head) = (seen.first_row + i / heads, i % heads);
            // The last query stands at the last key, however many were asked.
            sinks.add(head, &Matrix::new(of_head, keys), |query| {
                let position = keys - queries + query;
                let counted = self.counted.as_ref().is_none_or(|counted| counted.contains(&(row * keys + position)));
                position >= self.of.from && counted
            });
        }
    }

    fn report(&self, set: Split, row: &mut Row) {
        let rates: Vec<f64> = self.layers.iter().map(|sinks| sinks.rate(self.of.threshold)).collect();
        row.push(format!("{set}_sink_rate"), kiln_analyses::statistics::max(rates.iter().copied()));
        for (i, (sinks, rate)) in self.layers.iter().zip(rates).enumerate() {
            row.push(format!("{set}_layer{i}_sink_rate"), rate);
            row.push(format!("{set}_layer{i}_sink_weight"), sinks.weight());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use kiln_activations::{Keep, Record};

    use super::*;

    /// Weights on the first of three keys, of `[rows, heads, queries]`; the rest lies on the last.
    fn record(path: &str, first: &[f64], [rows, heads, queries]: [usize; 3]) -> Record {
        let keys = 3;
        let values: Vec<f64> = first.iter().flat_map(|&weight| [weight, 0.0, 1.0 - weight]).collect();
        let data = TensorData::new(values, [rows * heads * queries, keys]);
        let rows_of = Tensor::from_data(data, (&Device::flex(), burn::tensor::DType::F64));
        Record {
            path: path.into(),
            name: "attention".into(),
            rows: rows_of,
            keep: Keep::All,
            shape: vec![rows, heads, queries, keys],
        }
    }

    fn reported(mut layers: Layers, records: &[(Record, usize)]) -> Vec<(String, f64)> {
        records.iter().for_each(|(record, first_row)| layers.see(&Seen::new(record, *first_row)));
        let mut row = Row::new(0);
        layers.report(Split::Val, &mut row);
        row.iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    #[test]
    fn queries_of_every_row_count_from_a_position_on() {
        let of = SinkRate { from: 1, ..Default::default() };
        let layers = Layers { of, counted: None, layers: PerPart::default() };
        // Two rows, two heads, the queries at positions 0 to 2, of which the first does not count.
        let a = [1.0, 0.5, 0.25, 1.0, 0.25, 0.25, 1.0, 0.5, 0.25, 1.0, 0.25, 0.25];
        // The second layer was asked for the last position only.
        let b = [0.0, 0.5, 0.0, 0.75];
        let records = [(record("b", &a, [2, 2, 3]), 0), (record("a", &b, [2, 2, 1]), 0)];
        let expected = [
            ("val_sink_rate", 0.5),
            ("val_layer0_sink_rate", 0.5),
            ("val_layer0_sink_weight", (0.375 + 0.25) / 2.0),
            ("val_layer1_sink_rate", 0.5),
            ("val_layer1_sink_weight", (0.0 + 0.625) / 2.0),
        ];
        assert_eq!(reported(layers, &records), expected.map(|(name, value)| (name.to_string(), value)));
    }

    #[test]
    fn only_queries_of_the_group_count_wherever_their_piece_begins() {
        let of = SinkRate { from: 0, ..Default::default() };
        // Token 1 of row 0 and token 2 of row 1, which comes in a piece of its own.
        let layers = Layers { of, counted: Some([1, 3 + 2].into()), layers: PerPart::default() };
        let records = [(record("a", &[1.0, 0.5, 1.0], [1, 1, 3]), 0), (record("a", &[1.0, 1.0, 0.25], [1, 1, 3]), 1)];
        assert_eq!(reported(layers, &records)[2], ("val_layer0_sink_weight".to_string(), 0.375));
    }
}
