//! Are the learned embeddings of a modular task sparse in frequency?
use kiln_analyses::{Matrix, fourier};
use kiln_datasets::Asks;

use super::*;
use crate::train::engine::host;

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fourier {}

impl Entry for Fourier {
    const SUMMARY: &'static str =
        "share of the five strongest frequencies and Gini coefficient of the embeddings' spectrum";
    const PAPER: &'static str = "Nanda et al. 2023, arXiv:2301.05217";
}

impl Measure for Fourier {
    fn check(&self, context: &Context) -> Result<(), String> {
        match context.source.spec().asks {
            Asks::Class { classes: 5.. } => Ok(()),
            _ => Err("a spectrum needs at least 5 classes of rows; use it with modular arithmetic".into()),
        }
    }

    /// `fourier_top5`, `fourier_gini` of the first operand's embedding, `…_b` of the second operand's where it
    /// has rows of its own, `output_…` of the output matrix; `…_log` with rows in discrete-log order.
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        let p = snapshot.train.classes;
        let parts = [("fourier", snapshot.model.embedding()), ("output", snapshot.model.unembedding())];
        for (name, matrix) in parts {
            let Some(matrix) = matrix else { continue };
            let [rows, columns] = matrix.dims();
            let values = host(&matrix);
            let matrix = Matrix::new(&values[..], columns);
            for (operand, suffix) in (0..rows / p).zip(["", "_b"]) {
                let rows = matrix.row_range(operand * p..(operand + 1) * p);
                push(row, name, suffix, &rows);
                if let Some(order) = snapshot.source.discrete_log() {
                    push(row, name, &format!("{suffix}_log"), &rows.select_rows(order));
                }
            }
        }
        Ok(())
    }
}

fn push(row: &mut Row, name: &str, suffix: &str, rows: &Matrix) {
    let energies = fourier::energies(rows);
    row.push(format!("{name}_top5{suffix}"), fourier::top_fraction(&energies, 5));
    row.push(format!("{name}_gini{suffix}"), fourier::gini(&energies));
}
