//! A node that runs code.

use crate::syntax::node::code::Code;
use crate::workflow::CodeNode;

/// The code as written: what it does is not known here.
pub(super) fn lower(code: &Code<'_>) -> CodeNode {
    CodeNode {
        source: code.source.value.to_string(),
    }
}
