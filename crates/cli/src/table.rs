//! Tables of text, fitted to the terminal that they are printed on.

use std::fmt::Write as _;

use lang::visible;

use crate::printer::Look;

/// Spaces between two columns.
const GAP: usize = 2;
/// Shortest width of a shortened column: a narrower one would be useless.
const NARROWEST: usize = 12;

/// The side of its column that a cell is aligned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
}

/// Rows with their headings.
#[derive(Debug)]
pub(crate) struct Table {
    aligns: Vec<Align>,
    /// The first row holds the headings.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(crate) fn new(columns: impl IntoIterator<Item = (impl Into<String>, Align)>) -> Self {
        let (headings, aligns) = columns
            .into_iter()
            .map(|(heading, align)| (heading.into(), align))
            .unzip();
        Self {
            aligns,
            rows: vec![headings],
        }
    }

    /// A table whose columns all hold text.
    pub(crate) fn of_text(headings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(headings.into_iter().map(|heading| (heading, Align::Left)))
    }

    /// Adds a row with a cell for each column. White space in a cell becomes a single space, so
    /// that the row stays on one line; control characters are escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "))
            .map(|cell| visible::escaped(&cell).into_owned())
            .collect();
        debug_assert_eq!(cells.len(), self.aligns.len());
        self.rows.push(cells);
    }

    /// The table as text. On a terminal its lines fit the width: the widest columns are shortened,
    /// then the last ones are dropped. The first column is never shortened: other commands take its
    /// values. In a pipe nothing is shortened.
    pub(crate) fn text(&self, look: Look) -> String {
        let mut widths: Vec<usize> = (0..self.aligns.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.max().unwrap_or_default()
            })
            .collect();
        let dropped = if look.terminal {
            fit(&mut widths, look.width)
        } else {
            0
        };
        let mut lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| self.line(row, &widths))
            .collect();
        if dropped > 0 {
            let left_out = self.rows[0][widths.len()..].join(", ");
            lines.push(format!(
                "(too narrow for {left_out}; --format json has everything)"
            ));
        }
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, most) in widths.iter().enumerate() {
            if column > 0 {
                let _ = write!(line, "{:GAP$}", "");
            }
            let cell = console::truncate_str(&row[column], *most, "…");
            let gap = most - width(&cell);
            let _ = match self.aligns[column] {
                Align::Left => write!(line, "{cell}{:gap$}", ""),
                Align::Right => write!(line, "{:gap$}{cell}", ""),
            };
        }
        line.trim_end().to_owned()
    }
}

/// Makes the columns fit `width`; returns how many columns at the end were dropped.
fn fit(widths: &mut Vec<usize>, width: usize) -> usize {
    let all = widths.len();
    loop {
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let Some(excess) = total.checked_sub(width).filter(|excess| *excess > 0) else {
            break;
        };
        let shrinkable = widths.iter_mut().skip(1).max_by_key(|width| **width);
        match shrinkable {
            Some(widest) if *widest > NARROWEST => {
                *widest = widest.saturating_sub(excess).max(NARROWEST);
            }
            Some(_) => {
                widths.pop();
            }
            None => break,
        }
    }
    all - widths.len()
}

fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            ("JOB", Align::Left),
            ("STATUS", Align::Left),
            ("TOOK", Align::Right),
            ("ERROR", Align::Left),
        ]);
        table.row([
            "0199".into(),
            "completed".into(),
            "7 ms".into(),
            String::new(),
        ]);
        table.row([
            "0200".into(),
            "failed".into(),
            "12 ms".into(),
            "größe: the answer\ndoes not fit the output schema".into(),
        ]);
        table
    }

    #[track_caller]
    fn check(terminal: bool, width: usize, expected: &str) {
        let look = Look {
            color: false,
            terminal,
            width,
        };
        assert_eq!(table().text(look), expected);
    }

    #[test]
    fn a_pipe_gets_everything() {
        check(
            false,
            20,
            "JOB   STATUS      TOOK  ERROR\n\
             0199  completed   7 ms\n\
             0200  failed     12 ms  größe: the answer does not fit the output schema",
        );
    }

    #[test]
    fn a_narrow_terminal_gets_lines_that_fit() {
        check(
            true,
            40,
            "JOB   STATUS      TOOK  ERROR\n\
             0199  completed   7 ms\n\
             0200  failed     12 ms  größe: the answ…",
        );
        check(
            true,
            24,
            "JOB   STATUS      TOOK\n\
             0199  completed   7 ms\n\
             0200  failed     12 ms\n\
             (too narrow for ERROR; --format json has everything)",
        );
    }

    #[test]
    fn the_first_column_is_never_cut() {
        check(
            true,
            3,
            "JOB\n0199\n0200\n(too narrow for STATUS, TOOK, ERROR; --format json has everything)",
        );
    }
}
