//! Templates and conditions: their names are looked up, their types checked, and what is found is
//! reported where it stands in the file.

use super::context::Context;
use super::names::{OwnValue, Scope};
use super::scope::{Fields, Owner};
use crate::diagnostic::{Severity, code};
use crate::expr::{self, Condition};
use crate::names::{Finding, FindingKind, Names};
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::state::{Rule as Written, State};
use crate::syntax::view::Text;
use crate::template::{self, Template};
use crate::workflow::Rule;

/// `state.rules`.
pub(super) fn rules(
    state: Option<&State<'_>>,
    fields: &Fields<'_>,
    context: &mut Context<'_>,
) -> Vec<Rule> {
    if !fields.known {
        return Vec::new();
    }
    let comparisons = context.comparisons.clone();
    let scope = Scope {
        fields,
        nodes: None,
        variables: &[],
        item: None,
        comparisons,
        refuses_bare_fields: true,
    };
    let written = state.map_or(&[][..], |state| &state.rules);
    written
        .iter()
        .filter_map(|rule| lower(rule, &scope, "rule", context))
        .collect()
}

/// The checks of one field.
pub(super) fn checks(
    written: &[Written<'_>],
    own: &OwnValue<'_>,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> Vec<Rule> {
    let owner = owner.to_string();
    written
        .iter()
        .filter_map(|rule| lower(rule, own, &owner, context))
        .collect()
}

fn lower(
    written: &Written<'_>,
    names: &dyn Names,
    owner: &str,
    context: &mut Context<'_>,
) -> Option<Rule> {
    let condition = condition(&written.assert, names, owner, context)?;
    let text = written.assert.value.trim().to_owned();
    let message = written
        .message
        .clone()
        .unwrap_or_else(|| format!("must hold: {text}"));
    Some(Rule {
        reads: condition.reads(),
        condition,
        text,
        message,
    })
}

/// A condition's text, looked up and type-checked; `None` when it cannot be used.
pub(super) fn condition(
    text: &Text<'_>,
    names: &dyn Names,
    owner: &str,
    context: &mut Context<'_>,
) -> Option<Condition> {
    let locator = text.locator(context.text);
    let locate = |span: Span| locator.locate(span);
    match expr::parse(&text.value) {
        Ok(raw) => {
            let (condition, findings) = raw.resolve(names, &locate);
            let usable = !findings
                .iter()
                .any(|finding| finding.kind.severity() == Severity::Error);
            report(findings, text, owner, context);
            usable.then_some(condition)
        }
        Err(error) => {
            let location = Location::new(text.location.path.clone(), locate(error.span));
            let message = format!("{owner}: the condition cannot be read: {}", error.message);
            context.error(code::CONDITION_SYNTAX, &location, message, error.suggestion);
            None
        }
    }
}

/// A template's text, looked up. `asked_for` are the fields that its node writes.
pub(super) fn template(
    text: &Text<'_>,
    names: &dyn Names,
    asked_for: &[&str],
    owner: &str,
    context: &mut Context<'_>,
) -> Template {
    let locator = text.locator(context.text);
    let locate = |span: Span| locator.locate(span);
    let (template, mut findings) = template::parse(&text.value).resolve(names, &locate);
    findings.extend(template::foreign::find(
        &text.value,
        names,
        asked_for,
        &locate,
    ));
    report(findings, text, owner, context);
    template
}

fn report(findings: Vec<Finding>, text: &Text<'_>, owner: &str, context: &mut Context<'_>) {
    for finding in findings {
        let code = match finding.kind {
            FindingKind::UnknownName => code::UNKNOWN_NAME,
            FindingKind::FormatSpec => code::FORMAT_SPEC,
            FindingKind::NoInnerNames => code::NO_INNER_NAMES,
            FindingKind::Nonsense => code::CONDITION_TYPE,
            FindingKind::Foregone => code::FOREGONE,
            FindingKind::BareWordIsField | FindingKind::AmbiguousBareWord => code::BARE_WORD,
            FindingKind::ForeignPlaceholder => code::FOREIGN_PLACEHOLDER,
        };
        let location = Location::new(text.location.path.clone(), finding.span);
        let message = format!("{owner}: {}", finding.message);
        let word = context
            .text
            .get(finding.span.start..finding.span.end)
            .unwrap_or_default();
        let suggestion = match own_name(word) {
            Some(advice) if finding.kind == FindingKind::UnknownName => {
                Some(Suggestion::advice(advice))
            }
            _ => finding.suggestion,
        };
        context.report(
            code,
            finding.kind.severity(),
            &location,
            message,
            suggestion,
        );
    }
}

/// Where flowmill's own names exist, for one used elsewhere.
fn own_name(word: &str) -> Option<&'static str> {
    if word.starts_with("_parallel_") {
        Some(
            "`_parallel_item` and `_parallel_index` exist only in the target node of a `parallel` edge",
        )
    } else if word.starts_with("_loop_iteration_") {
        Some(
            "`_loop_iteration_<node>` needs the id of a node, and exists only in nodes and on edges",
        )
    } else {
        None
    }
}
