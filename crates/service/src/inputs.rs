//! Accepting the inputs of a request: all their faults in one answer, and their fingerprint.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use lang::fault::{ENOUGH, Fault, FaultKind, PathSegment, shortened};
use lang::json::LargeIntegers;
use lang::types::Type;
use lang::workflow::{AdditionalInputs, InitialState, Workflow};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The inputs the workflow knows, as given, and the initial state they make; or every fault, in the
/// fields' declaration order.
pub(crate) fn accept(
    workflow: &Workflow,
    mut inputs: Map<String, Value>,
    large_integers: Option<&LargeIntegers>,
) -> Result<(Map<String, Value>, InitialState), Vec<Fault>> {
    let accepted = workflow.accept_inputs(&inputs);
    let mut faults = accepted.as_ref().err().cloned().unwrap_or_default();
    if let Some(integers) = large_integers {
        add_large(workflow, integers, &mut faults);
    }
    match accepted {
        Ok(state) if faults.is_empty() => {
            inputs.retain(|name, _| field(workflow, name).is_some());
            Ok((inputs, state))
        }
        _ => {
            faults.sort_by_key(|fault| position(workflow, fault));
            workflow.mask_faults(&mut faults);
            Err(faults)
        }
    }
}

/// Adds a fault for each integer that does not fit 64 bits, up to a thousand faults in all, unless
/// the workflow does not use the value or it has a fault already.
fn add_large(workflow: &Workflow, integers: &LargeIntegers, faults: &mut Vec<Fault>) {
    let mut places = FaultPaths::default();
    for fault in &*faults {
        places.add(&fault.path);
    }
    integers.each(|path, rounded| {
        if faults.len() >= ENOUGH {
            return ControlFlow::Break(());
        }
        if !places.cover(path) && is_read(workflow, path) {
            places.add(path);
            faults.push(Fault {
                path: path.iter().map(shortened).collect(),
                kind: FaultKind::IntParsingSize,
                message: "Unable to parse input as an integer, exceeded maximum size".into(),
                input: Value::from(rounded),
                context: None,
            });
        }
        ControlFlow::Continue(())
    });
}

/// The paths of faults, as a tree of their segments.
#[derive(Debug, Default)]
struct FaultPaths {
    is_faulty: bool,
    inner: HashMap<PathSegment, Self>,
}

impl FaultPaths {
    fn add(&mut self, path: &[PathSegment]) {
        let mut place = self;
        for segment in path {
            place = place.inner.entry(shortened(segment)).or_default();
        }
        place.is_faulty = true;
    }

    /// Whether there is a fault at a path or around it.
    fn cover(&self, path: &[PathSegment]) -> bool {
        let mut place = self;
        for segment in path {
            if place.is_faulty {
                return true;
            }
            match place.inner.get(&shortened(segment)) {
                Some(inner) => place = inner,
                None => return false,
            }
        }
        place.is_faulty
    }
}

/// SHA-256, in hex, of what the caller gave: every value of the initial state that is not its field's
/// default, by name. Nothing of the workflow's version: while two versions are served, a repeated
/// request may meet the other one, whose fields may stand in another order, and more of them.
pub(crate) fn fingerprint(workflow: &Workflow, state: &InitialState) -> String {
    let given: BTreeMap<&str, &Value> = workflow
        .fields
        .iter()
        .zip(state)
        .filter(|(field, value)| field.default.as_ref().unwrap_or(&Value::Null) != *value)
        .map(|(field, value)| (field.name.as_str(), value))
        .collect();
    // Equal values are equal texts, except for the order of keys in dicts, which a caller does not
    // choose by accident.
    let text = serde_json::to_vec(&given).expect("values have text keys");
    format!("{:x}", Sha256::digest(text))
}

/// As stores before format 7 have it: of the definition and the initial state.
pub(crate) fn former_fingerprint(workflow: &Workflow, state: &InitialState) -> String {
    let mut hash = Sha256::new();
    hash.update(&workflow.definition_hash);
    hash.update(serde_json::to_vec(state).expect("values have text keys"));
    format!("{:x}", hash.finalize())
}

fn field(workflow: &Workflow, name: &str) -> Option<usize> {
    workflow.fields.iter().position(|field| field.name == name)
}

/// The position of the field that a fault belongs to; unknown fields come last.
fn position(workflow: &Workflow, fault: &Fault) -> usize {
    match fault.path.first() {
        Some(PathSegment::Key(name)) => field(workflow, name).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

/// Whether the workflow reads the integer at a path: not where the field is unknown and dropped,
/// nor where a float is expected, which takes integers of any size.
fn is_read(workflow: &Workflow, path: &[PathSegment]) -> bool {
    let Some((PathSegment::Key(name), inner)) = path.split_first() else {
        return true;
    };
    match field(workflow, name) {
        Some(position) => !wants_float(&workflow.fields[position].ty, inner),
        None => workflow.additional_inputs == AdditionalInputs::Forbid,
    }
}

fn wants_float(ty: &Type, path: &[PathSegment]) -> bool {
    match (ty, path.split_first()) {
        (Type::Float, None) => true,
        (Type::List(Some(items)), Some((PathSegment::Index(_), inner))) => {
            wants_float(items, inner)
        }
        (Type::Dict(Some(entries)), Some((PathSegment::Key(_), inner))) => {
            wants_float(&entries.1, inner)
        }
        (Type::Object(Some(schema)), Some((PathSegment::Key(name), inner))) => schema
            .fields
            .iter()
            .any(|field| field.name == *name && wants_float(&field.ty, inner)),
        _ => false,
    }
}
