//! Figures and reports: data in, text or bytes out.
//!
//! Everything here is a pure function. The crate reads no file, knows no training run and no claim; whoever has the
//! numbers fills one of these structs and writes what comes back.
//!
//! | from | to |
//! |---|---|
//! | [`Figure`], [`FigureGrid`] | SVG text, [`Plot::to_svg`] |
//! | SVG text | PNG bytes, [`svg_to_png`] |
//! | [`RunReport`] | one self-contained HTML page, [`run_report`] |
//! | [`StudyReport`] | `REPORT.md` and `report.html`, [`study_report`] |
//! | [`ComparisonReport`] | HTML, Markdown, LaTeX, CSV and figures, [`comparison_html`] and its siblings |
//!
//! ```
//! use kiln_reports::{Figure, Series, svg_to_png};
//!
//! let figure = Figure::new("Test accuracy", "step", "fraction")
//!     .with(Series::new("StableMax", vec![(0.0, 0.01), (500.0, 0.40), (1000.0, 0.97)]));
//! let png = svg_to_png(&figure.to_svg(), 2.0).unwrap();
//! assert!(png.starts_with(b"\x89PNG"));
//! ```

mod figure;
mod png;
mod report;

pub use figure::{Axis, Figure, FigureGrid, Guide, Orientation, Plot, Scale, Series, Stroke, Style};
pub use png::{PngError, svg_to_png};
pub use report::comparison::{
    BandKind, Better, ComparedMetric, ComparisonReport, MetricFormat, RunState, SeedRun, Variant, comparison_csv_seeds,
    comparison_csv_summary, comparison_figures, comparison_html, comparison_latex, comparison_markdown,
};
pub use report::number;
pub use report::run::{Command, Headline, Metric, RunReport, Tone, run_report};
pub use report::study::{
    Claim, Condition, ConditionKind, EndMetric, Flag, Paper, PlannedRun, Reading, SeedValue, StudyFigure, StudyReport,
    StudyText, Verdict, study_report,
};
