//! The columns of a report, as a table for people and as comma-separated values.

use super::totals::{By, Row};
use crate::printer::Look;
use crate::table::{Align, Table};

/// The columns that are shown.
pub(super) struct Columns {
    columns: Vec<Column>,
}

struct Column {
    /// For programs.
    name: &'static str,
    /// For people.
    heading: &'static str,
    /// For programs; empty if unknown.
    value: fn(&Row) -> String,
    /// For people.
    shown: fn(&Row) -> String,
}

impl Column {
    const fn count(name: &'static str, heading: &'static str, value: fn(&Row) -> String) -> Self {
        Self {
            name,
            heading,
            value,
            shown: value,
        }
    }
}

impl Columns {
    pub(super) fn costs(by: By) -> Self {
        let columns = vec![
            group(by),
            Column::count("runs", "RUNS", |row| row.runs.to_string()),
            Column::count("llm_calls", "CALLS", |row| row.llm_calls.to_string()),
            Column::count("input_tokens", "INPUT", |row| row.input_tokens.to_string()),
            Column::count("cached_tokens", "CACHED", |row| {
                row.cached_tokens.to_string()
            }),
            Column::count("output_tokens", "OUTPUT", |row| {
                row.output_tokens.to_string()
            }),
            cost(),
            unpriced(),
        ];
        Self { columns }
    }

    pub(super) fn runs(by: By) -> Self {
        let columns = vec![
            group(by),
            Column::count("runs", "RUNS", |row| row.runs.to_string()),
            Column::count("completed", "COMPLETED", |row| row.completed.to_string()),
            Column::count("failed", "FAILED", |row| row.failed.to_string()),
            Column::count("cancelled", "CANCELLED", |row| row.cancelled.to_string()),
            Column::count("active", "ACTIVE", |row| row.active.to_string()),
            Column {
                name: "p50_ms",
                heading: "P50",
                value: |row| number(row.p50_ms),
                shown: |row| milliseconds(row.p50_ms),
            },
            Column {
                name: "p95_ms",
                heading: "P95",
                value: |row| number(row.p95_ms),
                shown: |row| milliseconds(row.p95_ms),
            },
            Column::count("tokens", "TOKENS", |row| {
                (row.input_tokens + row.output_tokens).to_string()
            }),
            cost(),
            unpriced(),
        ];
        Self { columns }
    }

    /// Headings, rows and a total. The first column is aligned left, numbers are aligned right.
    pub(super) fn table(&self, rows: &[Row], total: &Row, look: Look) -> String {
        let headings = self.columns.iter().enumerate().map(|(position, column)| {
            let align = if position == 0 {
                Align::Left
            } else {
                Align::Right
            };
            (column.heading, align)
        });
        let mut table = Table::new(headings);
        for row in rows.iter().chain([total]) {
            table.row(self.columns.iter().map(|column| (column.shown)(row)));
        }
        table.text(look)
    }

    /// RFC 4180, but with `\n` as line end.
    pub(super) fn csv(&self, rows: &[Row]) -> String {
        let heading = self.columns.iter().map(|column| column.name.to_owned());
        let mut lines = vec![heading.collect::<Vec<_>>().join(",")];
        lines.extend(rows.iter().map(|row| {
            let cells = self
                .columns
                .iter()
                .map(|column| quoted((column.value)(row)));
            cells.collect::<Vec<_>>().join(",")
        }));
        lines.join("\n")
    }
}

fn group(by: By) -> Column {
    let (name, heading) = match by {
        By::Workflow => ("workflow", "WORKFLOW"),
        By::Node => ("node", "NODE"),
        By::Model => ("model", "MODEL"),
        By::Key => ("key", "KEY"),
    };
    Column {
        name,
        heading,
        value: |row| row.group.clone(),
        shown: |row| row.group.clone(),
    }
}

fn cost() -> Column {
    Column {
        name: "cost_usd",
        heading: "COST",
        value: |row| row.cost_usd.to_string(),
        shown: |row| format!("${:.4}", row.cost_usd),
    }
}

fn unpriced() -> Column {
    Column::count("unpriced_runs", "UNPRICED", |row| {
        row.unpriced_runs.to_string()
    })
}

fn number(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn milliseconds(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value} ms"))
}

/// The cell, quoted if it contains separators or quotes.
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: &str) -> Row {
        Row {
            group: group.to_owned(),
            runs: 12,
            completed: 11,
            failed: 1,
            p50_ms: Some(7),
            llm_calls: 13,
            input_tokens: 100,
            output_tokens: 20,
            cost_usd: 0.125,
            ..Row::default()
        }
    }

    #[test]
    fn a_table_lines_numbers_up() {
        let table = Columns::runs(By::Workflow).table(&[row("größe")], &row("total"), Look::PIPE);
        assert_eq!(
            table,
            "WORKFLOW  RUNS  COMPLETED  FAILED  CANCELLED  ACTIVE   P50  P95  TOKENS     COST  UNPRICED\n\
             größe       12         11       1          0       0  7 ms    -     120  $0.1250         0\n\
             total       12         11       1          0       0  7 ms    -     120  $0.1250         0"
        );
    }

    #[test]
    fn what_a_spreadsheet_would_misread_is_quoted() {
        let csv = Columns::costs(By::Node).csv(&[row("a, \"b\"")]);
        assert_eq!(
            csv,
            "node,runs,llm_calls,input_tokens,cached_tokens,output_tokens,cost_usd,unpriced_runs\n\
             \"a, \"\"b\"\"\",12,13,100,0,20,0.125,0"
        );
    }
}
