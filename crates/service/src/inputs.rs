//! Accepting a request's inputs: all their faults in one answer, and what identifies them.

use lang::fault::{Fault, PathSegment};
use lang::types::Type;
use lang::workflow::{AdditionalInputs, InitialState, Workflow};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The inputs the workflow knows, as given, and the initial state they make; or every fault, in the
/// fields' declaration order.
pub(crate) fn accept(
    workflow: &Workflow,
    mut inputs: Map<String, Value>,
    body_faults: Vec<Fault>,
) -> Result<(Map<String, Value>, InitialState), Vec<Fault>> {
    let accepted = workflow.accept_inputs(&inputs);
    let mut faults = accepted.as_ref().err().cloned().unwrap_or_default();
    for fault in body_faults {
        let reported = faults
            .iter()
            .any(|other| fault.path.starts_with(&other.path));
        if !reported && is_read(workflow, &fault) {
            faults.push(fault);
        }
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

/// SHA-256, in hex, of what a run would start from: the definition and the initial state.
pub(crate) fn fingerprint(workflow: &Workflow, state: &InitialState) -> String {
    let mut hash = Sha256::new();
    hash.update(&workflow.definition_hash);
    // The state has one value per field in declaration order, so equal states are equal texts, except
    // for the order of keys in dicts, which a caller does not choose by accident.
    hash.update(serde_json::to_vec(state).expect("values have text keys"));
    format!("{:x}", hash.finalize())
}

fn field(workflow: &Workflow, name: &str) -> Option<usize> {
    workflow.fields.iter().position(|field| field.name == name)
}

/// Where the field stands that a fault belongs to; unknown ones stand last.
fn position(workflow: &Workflow, fault: &Fault) -> usize {
    match fault.path.first() {
        Some(PathSegment::Key(name)) => field(workflow, name).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

/// Whether the workflow reads an integer at the place of a fault: not where the field is unknown and
/// dropped, nor where a float is wanted, which takes integers of any size.
fn is_read(workflow: &Workflow, fault: &Fault) -> bool {
    let Some((PathSegment::Key(name), inner)) = fault.path.split_first() else {
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
