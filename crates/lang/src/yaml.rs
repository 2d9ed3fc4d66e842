//! A workflow file's text as a tree of values with spans. Owns reading YAML (with the scalar rules
//! of YAML 1.1, as files written for `PyYAML` rely on them) and JSON, and the bounds that keep a
//! hostile file harmless. Writes values, too. Knows nothing of workflows.

mod bounds;
mod json;
mod layout;
mod load;
mod mapping;
mod misread;
mod node;
mod scalar;
mod write;

use std::rc::Rc;

use bounds::{MAX_BYTES, fault};

pub(crate) use layout::TextMap;
pub(crate) use misread::is_foreign_blank;
pub(crate) use node::{Data, Entry, Key, Node, Text};
pub use write::to_text;

use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, code};
use crate::source::Span;

/// Reads a YAML text. `None` when it is no YAML or holds no document; `findings` says why.
pub(crate) fn read_yaml(text: &str, findings: &mut Findings) -> Option<Rc<Node>> {
    read(text, findings, load::load)
}

/// Reads a JSON text by JSON's own rules. `None` when it is no JSON; `findings` says why.
pub(crate) fn read_json(text: &str, findings: &mut Findings) -> Option<Rc<Node>> {
    read(text, findings, json::load)
}

type Loader = fn(&str, &mut Findings) -> Result<Option<Rc<Node>>, Box<Diagnostic>>;

fn read(text: &str, findings: &mut Findings, loader: Loader) -> Option<Rc<Node>> {
    if text.len() > MAX_BYTES {
        findings.push(fault(
            code::TOO_LARGE,
            Span::default(),
            format!(
                "the file holds {} bytes; at most {MAX_BYTES} are read",
                text.len()
            ),
        ));
        return None;
    }
    loader(text, findings).unwrap_or_else(|diagnostic| {
        findings.push(*diagnostic);
        None
    })
}
