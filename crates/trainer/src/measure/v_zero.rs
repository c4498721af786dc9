//! Has Adam's second moment rounded away?
use super::*;

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VZero {}

impl Entry for VZero {
    const SUMMARY: &'static str = "share of parameters whose Adam second moment is exactly 0 while the first is not";
}

impl Measure for VZero {
    fn check(&self, context: &Context) -> Result<(), String> {
        match context.optimizer {
            "adam" | "adamw" => Ok(()),
            other => Err(format!("optimizer \"{other}\" has no second moment that v_zero can read; use adam or adamw")),
        }
    }

    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        row.push("v_zero", snapshot.chain.v_zero().unwrap_or(f64::NAN));
        Ok(())
    }
}
