//! Any text is either a workflow or has diagnostics, and every diagnostic points into the text.
#![no_main]

use std::sync::Arc;

use lang::source::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["fuzz.yaml", "fuzz.json"] {
        let source = Source { name: name.into(), text: Arc::from(text) };
        let checked = lang::check(&source);
        let errors = checked.diagnostics.iter().any(|d| d.severity == lang::diagnostic::Severity::Error);
        assert_eq!(checked.workflow.is_none(), errors);
        for diagnostic in &checked.diagnostics {
            assert!(text.get(diagnostic.span.start..diagnostic.span.end).is_some(), "{diagnostic:?}");
        }
        lang::diagnostic::render::human(&source, &checked.diagnostics, false, 80);
    }
});
