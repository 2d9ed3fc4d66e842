//! The report: each measured figure with its budget.

use std::io::{self, Write};

use serde::Serialize;

use crate::options::Format;

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) cores: usize,
    pub(crate) lines: Vec<Line>,
    /// Notes about the figures.
    pub(crate) notes: Vec<String>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    what: String,
    unit: &'static str,
    /// The reference's figure in `unit`, if there is one.
    reference: Option<f64>,
    /// flowmill's figure in `unit`.
    flowmill: f64,
    measure: Measure,
    /// What the budget limits: the ratio, the difference, or flowmill's own figure.
    measured: f64,
    budget: Option<Budget>,
    ok: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// flowmill / reference.
    Ratio,
    /// flowmill - reference.
    Added,
    /// flowmill alone.
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Budget {
    fn allows(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(limit) => measured >= limit,
            Self::AtMost(limit) => measured <= limit,
        }
    }
}

impl Line {
    /// Figures taken in pairs, one after the other: the medians, and the median of the pairs'
    /// ratios or differences, in which the noise of a slow moment cancels.
    pub(crate) fn paired(
        what: impl Into<String>,
        unit: &'static str,
        measure: Measure,
        pairs: &[Pair],
    ) -> Self {
        let measured = pairs.iter().map(|pair| match measure {
            Measure::Ratio => pair.flowmill / pair.reference,
            Measure::Added => pair.flowmill - pair.reference,
            Measure::Value => pair.flowmill,
        });
        Self {
            what: what.into(),
            unit,
            reference: Some(median(pairs.iter().map(|pair| pair.reference))),
            flowmill: median(pairs.iter().map(|pair| pair.flowmill)),
            measure,
            measured: median(measured),
            budget: None,
            ok: None,
        }
    }

    /// flowmill's figure alone: the median.
    pub(crate) fn alone(what: impl Into<String>, unit: &'static str, figures: &[f64]) -> Self {
        let flowmill = median(figures.iter().copied());
        Self {
            what: what.into(),
            unit,
            reference: None,
            flowmill,
            measure: Measure::Value,
            measured: flowmill,
            budget: None,
            ok: None,
        }
    }

    /// Sets the line's budget.
    pub(crate) fn within(self, budget: Budget) -> Self {
        Self {
            budget: Some(budget),
            ok: Some(budget.allows(self.measured)),
            ..self
        }
    }
}

/// The same figure of both programs, measured one right after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) reference: f64,
    pub(crate) flowmill: f64,
}

impl Report {
    pub(crate) fn is_within_budgets(&self) -> bool {
        self.lines.iter().all(|line| line.ok != Some(false))
    }

    pub(crate) fn print(&self, format: Format) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match format {
            Format::Table => self.write_table(&mut out),
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, self)?;
                writeln!(out)
            }
        }
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = vec![
            [
                "what",
                "unit",
                "reference",
                "flowmill",
                "measured",
                "budget",
                "",
            ]
            .map(String::from),
        ];
        rows.extend(self.lines.iter().map(Line::cells));
        let widths: [usize; 7] = std::array::from_fn(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        });
        for row in &rows {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                match column {
                    0 => write!(out, "{cell:width$}")?,
                    1 | 6 => write!(out, "  {cell:width$}")?,
                    _ => write!(out, "  {cell:>width$}")?,
                }
            }
            writeln!(out)?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

impl Line {
    fn cells(&self) -> [String; 7] {
        let measured = match self.measure {
            Measure::Ratio => format!("x {}", figure(self.measured)),
            Measure::Added => format!(
                "{}{}",
                if self.measured < 0.0 { "" } else { "+" },
                figure(self.measured)
            ),
            Measure::Value => figure(self.measured),
        };
        let budget = match self.budget {
            Some(Budget::AtLeast(limit)) => format!(">= {}", figure(limit)),
            Some(Budget::AtMost(limit)) => format!("<= {}", figure(limit)),
            None => String::new(),
        };
        let verdict = match self.ok {
            Some(true) => "ok",
            Some(false) => "OVER",
            None => "",
        };
        [
            self.what.clone(),
            self.unit.to_owned(),
            self.reference.map(figure).unwrap_or_default(),
            figure(self.flowmill),
            measured,
            budget,
            verdict.to_owned(),
        ]
    }
}

/// Three significant digits or so.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The middle figure; of an even number the lower of the two.
///
/// # Panics
/// Without any figure.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(figures: &[(f64, f64)]) -> Vec<Pair> {
        figures
            .iter()
            .map(|&(reference, flowmill)| Pair {
                reference,
                flowmill,
            })
            .collect()
    }

    #[test]
    fn a_slow_moment_that_hits_both_programs_cancels_out() {
        let pairs = pairs(&[(100.0, 80.0), (10.0, 8.0), (100.0, 80.0)]);
        let line =
            Line::paired("throughput", "/s", Measure::Ratio, &pairs).within(Budget::AtLeast(0.7));
        assert_eq!(
            (line.reference, line.flowmill, line.measured),
            (Some(100.0), 80.0, 0.8)
        );
        assert_eq!(line.ok, Some(true));
    }

    #[test]
    fn a_line_over_its_budget_spoils_the_report() {
        let over = Line::alone("start", "ms", &[40.0, 60.0, 70.0]).within(Budget::AtMost(50.0));
        let unlimited = Line::alone("memory", "MB", &[400.0]);
        let report = |lines| Report {
            cores: 2,
            lines,
            notes: Vec::new(),
        };
        assert!(report(vec![unlimited]).is_within_budgets());
        assert!(!report(vec![over]).is_within_budgets());
    }
}
