//! Whether the parts of a study fit each other.
use std::collections::BTreeSet;

use crate::{
    expr::{Comparison, Expr, ExprError, lexer::identifier},
    study::{Claim, ClaimKind, ConditionKind, RunSpec, Scale, Study},
    suggest::hint,
};

/// A value that contradicts another part of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    /// Where: the key's path with list positions from 0, such as `claims.3.conditions.0.expr`.
    pub key: String,
    /// What came, what was expected, what to do.
    pub message: String,
}

type Checked = Result<(), Invalid>;

fn ensure(holds: bool, key: impl Into<String>, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Invalid { key: key.into(), message: message() }) }
}

impl Study {
    /// Checks the parts of the study against each other.
    ///
    /// # Errors
    /// The first contradiction: an unknown run or scale, a circle of runs, a claim that nothing could refute, a
    /// margin without a baseline and the like.
    pub fn check(&self) -> Checked {
        self.check_scales()?;
        self.runs.iter().try_for_each(|(name, run)| self.check_run(name, run))?;
        self.check_circles()?;
        self.check_report()?;
        let mut seen = BTreeSet::new();
        for (i, claim) in self.claims.iter().enumerate() {
            ensure(seen.insert((&claim.id, claim.scale)), format!("claims.{i}.id"), || {
                format!("claim \"{}\" stands twice at scale {}", claim.id, claim.scale)
            })?;
            self.check_claim(&format!("claims.{i}"), claim)?;
        }
        Ok(())
    }

    fn check_scales(&self) -> Checked {
        for (scale, spec) in self.scales.iter() {
            let key = format!("scales.{scale}");
            let distinct: BTreeSet<_> = spec.seeds.iter().collect();
            ensure(!spec.seeds.is_empty() && distinct.len() == spec.seeds.len(), format!("{key}.seeds"), || {
                "expected one seed or more, each once".into()
            })?;
            if let Some(shown) = spec.shows {
                let judged = self.scales.get(shown).is_some_and(|other| other.shows.is_none());
                ensure(judged, format!("{key}.shows"), || {
                    format!("scale {shown} has no claims to show; expected a declared scale that judges its own")
                })?;
                ensure(self.claims_at(scale).next().is_none(), format!("{key}.shows"), || {
                    format!("scale {scale} has claims of its own, so it cannot show those of {shown}")
                })?;
            }
        }
        Ok(())
    }

    fn check_run(&self, name: &str, run: &RunSpec) -> Checked {
        let key = format!("runs.{name}");
        ensure(!name.is_empty() && identifier(name) == name, key.as_str(), || {
            format!("\"{name}\" is no name of a run; expected a letter, then letters, digits or underscores")
        })?;
        ensure(!run.scales.is_empty(), format!("{key}.scales"), || "expected one scale or more".into())?;
        for scale in &run.scales {
            ensure(self.scales.get(*scale).is_some(), format!("{key}.scales"), || {
                format!("scale {scale} is not declared under [scales]")
            })?;
        }
        for (scale, _) in run.per_scale.iter() {
            ensure(run.scales.contains(&scale), format!("{key}.per_scale.{scale}"), || {
                format!("the run is not made at scale {scale}; add it to scales or drop this table")
            })?;
        }
        let tables = std::iter::once(&run.set).chain(run.per_scale.iter().map(|(_, overrides)| &overrides.set));
        for (path, value) in tables.flatten() {
            ensure(path != "run.seed" && path != "train.steps", format!("{key}.set"), || {
                format!("{path} is set by the study itself: seeds stand under [scales], steps in the run")
            })?;
            let whole = !path.is_empty() && path.split('.').all(|part| !part.is_empty());
            ensure(whole, format!("{key}.set"), || format!("\"{path}\" is no key; expected one such as optim.lr"))?;
            ensure(!value.is_null(), format!("{key}.set"), || format!("{path} has no value a config could hold"))?;
        }
        for needed in &run.needs {
            let Some(other) = self.runs.get(needed) else {
                return ensure(false, format!("{key}.needs"), || self.unknown_run(needed));
            };
            if let Some(scale) = run.scales.iter().find(|scale| !other.scales.contains(scale)) {
                return ensure(false, format!("{key}.needs"), || {
                    format!("run {needed} is not made at scale {scale}, where {name} needs it")
                });
            }
        }
        Ok(())
    }

    fn check_report(&self) -> Checked {
        for (i, profile) in self.report.profiles.iter().enumerate() {
            let key = format!("report.profiles.{i}");
            ensure(
                !profile.name.is_empty() && identifier(&profile.name) == profile.name,
                format!("{key}.name"),
                || {
                    format!(
                        "\"{}\" cannot name a file; expected a letter, then letters, digits or underscores",
                        profile.name
                    )
                },
            )?;
            ensure(profile.points.iter().all(|(place, _)| *place > 0.0), format!("{key}.points"), || {
                "the axis is logarithmic; expected places above 0".into()
            })?;
            for run in &profile.runs {
                ensure(self.runs.contains_key(run), format!("{key}.runs"), || self.unknown_run(run))?;
            }
        }
        Ok(())
    }

    /// Removes runs whose needs are all gone until nothing changes; what is left stands in a circle or behind one.
    fn check_circles(&self) -> Checked {
        let mut left: BTreeSet<&str> = self.runs.keys().map(String::as_str).collect();
        loop {
            let before = left.len();
            let free: Vec<&str> = left
                .iter()
                .copied()
                .filter(|name| self.runs[*name].needs.iter().all(|needed| !left.contains(needed.as_str())))
                .collect();
            left.retain(|name| !free.contains(name));
            if left.is_empty() {
                return Ok(());
            }
            if left.len() == before {
                let circle: Vec<&str> = left.into_iter().collect();
                return ensure(false, format!("runs.{}.needs", circle[0]), || {
                    format!("these runs wait for each other: {}", circle.join(", "))
                });
            }
        }
    }

    fn check_claim(&self, key: &str, claim: &Claim) -> Checked {
        let Claim { scale, kind, .. } = claim;
        ensure(!claim.id.is_empty(), format!("{key}.id"), || "expected a short name such as G3".into())?;
        ensure(self.scales.get(*scale).is_some(), format!("{key}.scale"), || {
            format!("scale {scale} is not declared under [scales]")
        })?;
        ensure(claim.not_run.as_ref().is_none_or(|reason| !reason.is_empty()), format!("{key}.not_run"), || {
            "expected the reason".into()
        })?;
        ensure(!(*kind == ClaimKind::Exact && claim.on_mean), format!("{key}.on_mean"), || {
            "an exact claim is judged on every seed; drop on_mean or choose another kind".into()
        })?;
        let directed = claim.conditions.iter().any(|condition| condition.kind == ConditionKind::Direction);
        ensure(directed, format!("{key}.conditions"), || {
            "nothing could refute this claim; expected at least one condition of kind \"direction\"".into()
        })?;
        let headlines = claim.conditions.iter().filter(|condition| condition.headline).count();
        ensure(headlines <= 1, format!("{key}.conditions"), || {
            format!("{headlines} conditions are the headline; expected at most one")
        })?;
        self.check_margin(key, claim)?;
        let order = claim.conditions.iter().any(|condition| condition.expr.runs().len() > 1);
        ensure(*kind != ClaimKind::Order || order, format!("{key}.kind"), || {
            "an order is between runs; expected a condition that reads two or more".into()
        })?;
        for (i, condition) in claim.conditions.iter().enumerate() {
            self.check_readings(&format!("{key}.conditions.{i}.expr"), *scale, &condition.expr)?;
        }
        match &claim.baseline {
            Some(baseline) => self.check_baseline(&format!("{key}.baseline"), *scale, baseline),
            None => Ok(()),
        }
    }

    fn check_margin(&self, key: &str, claim: &Claim) -> Checked {
        let uses = claim.conditions.iter().position(|condition| condition.expr.uses_margin());
        if claim.kind != ClaimKind::Within {
            ensure(claim.margin.is_none() && claim.baseline.is_none(), format!("{key}.kind"), || {
                "margin and baseline belong to kind \"within\"".into()
            })?;
            let at = uses.unwrap_or_default();
            return ensure(uses.is_none(), format!("{key}.conditions.{at}.expr"), || {
                "the word `margin` has no value here; it belongs to kind \"within\"".into()
            });
        }
        ensure(claim.margin.is_some_and(|margin| margin > 0.0), format!("{key}.margin"), || {
            "a claim of kind \"within\" needs a margin above 0".into()
        })?;
        ensure(claim.baseline.is_some(), format!("{key}.baseline"), || {
            "a claim of kind \"within\" needs a baseline, whose spread over seeds says whether the margin can be \
             resolved"
                .into()
        })?;
        ensure(uses.is_some(), format!("{key}.conditions"), || {
            "no condition uses the margin; expected for example abs(at(A.test_accuracy, 500) - at(B.test_accuracy, \
             500)) <= margin"
                .into()
        })
    }

    fn check_baseline(&self, key: &str, scale: Scale, baseline: &Expr) -> Checked {
        let text = baseline.to_string();
        ensure(!baseline.metrics().is_empty(), key, || format!("{text} reads no run"))?;
        baseline.metrics().into_iter().try_for_each(|metric| self.check_reading(key, scale, &text, &metric.run))
    }

    fn check_readings(&self, key: &str, scale: Scale, expr: &Comparison) -> Checked {
        let text = expr.to_string();
        ensure(!expr.metrics().is_empty(), key, || format!("{text} reads no run, so no run could decide it"))?;
        expr.runs().into_iter().try_for_each(|run| self.check_reading(key, scale, &text, run))
    }

    /// The error shows the expression with the run's name underlined.
    fn check_reading(&self, key: &str, scale: Scale, text: &str, run: &str) -> Checked {
        let message = match self.runs.get(run) {
            None => self.unknown_run(run),
            Some(spec) if !spec.scales.contains(&scale) => {
                format!("run {run} is not made at scale {scale}; add the scale to it or read another run")
            }
            Some(_) => return Ok(()),
        };
        let start = position_of(text, run);
        let error = ExprError::new(text, start..start + run.len(), message);
        Err(Invalid { key: key.into(), message: error.to_string() })
    }

    fn unknown_run(&self, name: &str) -> String {
        format!("unknown run \"{name}\"; {}", hint(name, self.runs.keys().map(String::as_str)))
    }
}

/// Where `run` is first read in a printed expression.
fn position_of(text: &str, run: &str) -> usize {
    let reading = format!("{run}.");
    let is_start = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    text.match_indices(&reading).map(|(at, _)| at).find(|at| is_start(*at)).unwrap_or(0)
}
