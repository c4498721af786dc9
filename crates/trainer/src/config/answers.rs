//! Does the network answer where the data asks, and do loss and head judge such answers?
use kiln_datasets::{Asks, DataConfig};
use kiln_models::{Answers, ModelConfig};
use kiln_registry::Tagged;
use serde_json::json;

use super::schema::Experiment;
use crate::train::feed::target;

/// Checks network, head and loss against what the data asks and each other, before the data is opened.
///
/// # Errors
/// The key to change, and a message that says why and what would do.
pub fn check(experiment: &Experiment) -> Result<(), (&'static str, String)> {
    let (data, model, loss) = (&experiment.data, &experiment.model, &experiment.loss);
    let name = data.name();
    match data.spec().asks {
        Asks::Tokens { .. } if model.answers() == Answers::Row => {
            let networks = named::<ModelConfig>(|model| model.answers() == Answers::Places);
            let others = named::<DataConfig>(|data| !matches!(data.spec().asks, Asks::Tokens { .. }));
            Err((
                "model.name",
                format!(
                    "\"{}\" answers once per row, but \"{name}\" asks for a class at several places of each; choose a \
                     network that answers at places ({networks}), or data that asks once per row ({others})",
                    model.name(),
                ),
            ))
        }
        _ => {
            let target = target(&data.spec());
            loss.check_target(target).map_err(|message| ("loss.name", message))?;
            model.trains(loss, target).map_err(|message| ("model.head", message))
        }
    }
}

/// The registry's names whose entries are so by default.
fn named<T: Tagged + for<'de> serde::Deserialize<'de>>(such: impl Fn(&T) -> bool) -> String {
    let fits = |name: &&&str| serde_json::from_value::<T>(json!(name)).is_ok_and(|entry| such(&entry));
    let names: Vec<&str> = T::NAMES.iter().filter(fits).copied().collect();
    if names.is_empty() { "there is none yet".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(data: &str, model: &str) -> Option<(&'static str, String)> {
        let experiment = serde_json::from_value(json!({
            "data": data, "model": model, "loss": "cross_entropy", "optim": { "name": "adamw", "lr": 1e-3 },
            "train": { "steps": 1 },
        }));
        check(&experiment.unwrap()).err()
    }

    #[test]
    fn a_network_without_places_is_no_match_for_questions_at_places() {
        assert_eq!(refusal("needle", "mlp"), None);
        let (key, message) = refusal("copying", "mlp").unwrap();
        assert_eq!(key, "model.name");
        let start = "\"mlp\" answers once per row, but \"copying\" asks for a class at several places of each; choose a \
                     network that answers at places (";
        assert!(message.starts_with(start), "{message}");
        assert!(message.contains("max_retrieval, modular, parity, needle"), "{message}");
    }

    #[test]
    fn a_loss_of_classes_does_not_judge_real_numbers() {
        let (key, message) = refusal("in_context_regression", "query_pool").unwrap();
        assert_eq!(key, "loss.name");
        assert!(message.starts_with("\"cross_entropy\" takes classes"), "{message}");
        assert!(message.ends_with("and the data gives values; losses that fit: mse"), "{message}");
    }
}
