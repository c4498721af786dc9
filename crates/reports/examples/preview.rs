//! Writes figures and reports of made-up results into a folder, to look at them: `cargo run --example preview -- DIR`.

use std::path::PathBuf;

#[path = "../tests/planted/mod.rs"]
mod planted;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: preview DIR")?);
    std::fs::create_dir_all(folder.join("figures"))?;
    let figures = [
        ("accuracy", planted::accuracy_figure().to_svg()),
        ("loss", planted::loss_figure().to_svg()),
        ("diagnostics", planted::diagnostics().to_svg()),
    ];
    for (name, svg) in figures {
        std::fs::write(folder.join(format!("figures/{name}.svg")), &svg)?;
        std::fs::write(folder.join(format!("figures/{name}.png")), kiln_reports::svg_to_png(&svg, 2.0)?)?;
    }
    std::fs::write(folder.join("run.html"), kiln_reports::run_report(&planted::run()))?;
    for (name, study) in [("study", planted::study()), ("glance", planted::glance())] {
        let text = kiln_reports::study_report(&study);
        std::fs::write(folder.join(format!("{name}.html")), text.html)?;
        std::fs::write(folder.join(format!("{name}.md")), text.markdown)?;
    }
    let comparison = planted::comparison::report();
    for (name, text) in [
        ("comparison.html", kiln_reports::comparison_html(&comparison)),
        ("comparison.md", kiln_reports::comparison_markdown(&comparison)),
        ("comparison.tex", kiln_reports::comparison_latex(&comparison)),
        ("comparison_seeds.csv", kiln_reports::comparison_csv_seeds(&comparison)),
        ("comparison_summary.csv", kiln_reports::comparison_csv_summary(&comparison)),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
