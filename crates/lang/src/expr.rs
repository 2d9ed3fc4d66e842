//! The condition language: lexer, precedence-climbing parser, type check, evaluation.

/// A parsed, resolved and type-checked condition.
#[derive(Debug, Clone)]
pub struct Condition {
    // helper `values` owns this; the tree holds `template::Reference`s
    _private: (),
}

impl Condition {
    /// Evaluates to true or false; never fails (unlike kinds compare false, as documented).
    pub fn holds(&self, _scope: &dyn crate::template::Scope) -> bool {
        todo!("helper `values`")
    }
}
