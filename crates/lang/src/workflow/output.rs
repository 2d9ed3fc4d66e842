//! What a node produces, and the reading of a model's answer.

use crate::fault::{Fault, FaultKind, Path};
use crate::field::Field;
use crate::ids::FieldId;
use crate::value::Value;

/// A node's output schema together with the state fields it writes.
#[derive(Debug, Clone)]
pub struct Output {
    /// In the order of `output_schema.fields`; exactly one, named `result`, when `wrapped`.
    /// Each carries its state field's constraints and checks.
    pub fields: Vec<OutputField>,
    /// The schema is no object: the model is asked for `{"result": …}`.
    pub wrapped: bool,
    /// What the answer is, told to the model (`output_schema.description`).
    pub description: Option<String>,
}

/// One value a node produces.
#[derive(Debug, Clone)]
pub struct OutputField {
    /// The key in the model's answer.
    pub key: String,
    /// Type, description and constraints.
    pub field: Field,
    /// The state field it goes to.
    pub target: FieldId,
    /// Whether null fits. Never for the answer of a model.
    pub nullable: bool,
}

impl Output {
    /// Reads a model's answer, an object with every declared key (`result` when wrapped): coerces
    /// and checks each, drops the others. Null fits only where the output is `nullable`. On
    /// failure every fault, in the order of the declared keys, paths starting with the key.
    pub fn read(&self, answer: &Value) -> Result<Vec<(FieldId, Value)>, Vec<Fault>> {
        let Value::Object(entries) = answer else {
            return Err(vec![Fault::new(FaultKind::ModelType, Path::Root, answer)]);
        };
        let mut faults = Vec::new();
        let mut written = Vec::with_capacity(self.fields.len());
        for output in &self.fields {
            let path = Path::Key(&Path::Root, &output.key);
            match entries.get(&output.key) {
                Some(Value::Null) if output.nullable => written.push((output.target, Value::Null)),
                Some(given) => {
                    let value = output.field.coerce_present(given, path, &mut faults);
                    written.extend(value.map(|value| (output.target, value)));
                }
                None => faults.push(Fault::new(FaultKind::Missing, path, answer)),
            }
        }
        if faults.is_empty() {
            Ok(written)
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::{Constraints, Type};

    fn output(fields: &[(&str, &str)]) -> Output {
        let fields = fields
            .iter()
            .enumerate()
            .map(|(index, (key, ty))| OutputField {
                key: (*key).to_owned(),
                field: Field::named(*key, Type::parse(ty).unwrap()),
                target: FieldId(index),
                nullable: false,
            });
        Output {
            fields: fields.collect(),
            wrapped: false,
            description: None,
        }
    }

    fn faults(output: &Output, answer: &Value) -> Vec<(String, &'static str)> {
        let faults = output.read(answer).expect_err("faults");
        faults
            .iter()
            .map(|fault| (fault.dotted_path(), fault.kind.as_str()))
            .collect()
    }

    #[test]
    fn declared_keys_are_coerced_and_others_dropped() {
        let output = output(&[("score", "int"), ("tags", "list[str]")]);
        let read = output
            .read(&json!({"tags": ["a"], "mood": 1, "score": "7"}))
            .unwrap();
        assert_eq!(read, [(FieldId(0), json!(7)), (FieldId(1), json!(["a"]))]);
    }

    #[test]
    fn every_fault_is_found_and_null_never_fits() {
        let output = output(&[("score", "int"), ("tags", "list[str]"), ("note", "str")]);
        let found = faults(&output, &json!({"score": null, "tags": ["a", 2]}));
        let expected = [
            ("score", "int_type"),
            ("tags.1", "string_type"),
            ("note", "missing"),
        ];
        assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn constraints_of_the_state_field_hold_for_answers() {
        let mut output = output(&[("score", "int")]);
        output.fields[0].field.constraints = Constraints {
            maximum: Some(10.0),
            ..Constraints::default()
        };
        assert_eq!(
            faults(&output, &json!({"score": 11})),
            [("score".to_owned(), "less_than_equal")]
        );
    }

    #[test]
    fn an_answer_that_is_no_object_is_one_fault() {
        assert_eq!(
            faults(&output(&[("a", "str")]), &json!(["a"])),
            [(String::new(), "model_type")]
        );
    }
}
