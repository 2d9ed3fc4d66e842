//! A node's outputs: each a state field, declared by the output schema, of the same type.

use std::collections::HashSet;

use super::context::Context;
use super::fields::{lower_type, parse_type};
use super::scope::{Fields, Owner};
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::node::{Node as Written, OutputField as WrittenField, OutputSchema};
use crate::syntax::view::Text;
use crate::types::Type;
use crate::workflow::{Field, FieldId, Output, OutputField};

/// The key of the model's answer when the schema is no object.
const RESULT: &str = "result";

pub(super) fn lower(
    node: &Written<'_>,
    fields: &Fields<'_>,
    owner: &str,
    context: &mut Context<'_>,
) -> Output {
    let mut output = Output {
        fields: Vec::new(),
        wrapped: false,
        description: node
            .schema
            .as_ref()
            .and_then(|schema| schema.description.clone()),
    };
    let rules = Rules { owner, fields };
    let targets = node
        .outputs
        .as_ref()
        .map(|outputs| rules.targets(outputs, context));
    let saves = node
        .memory
        .as_ref()
        .is_some_and(crate::syntax::memory::Memory::writes_nothing);
    let empty = node.outputs.as_ref().is_some_and(Vec::is_empty);
    if empty && !saves {
        let location = node
            .view
            .get("outputs")
            .map_or_else(|| node.view.head(), |item| item.location);
        let advice = Suggestion::advice("name the state field the answer goes to");
        context.error(
            code::EMPTY,
            &location,
            format!("{owner}: `outputs` must not be empty"),
            Some(advice),
        );
    }
    let Some(schema) = &node.schema else {
        return output;
    };
    let ty = schema
        .ty
        .as_ref()
        .and_then(|ty| parse_type(ty, owner, context));
    if empty {
        return output;
    }
    match ty {
        Some(Type::Object(None)) => {
            output.fields = rules.object(node, schema, targets.as_deref(), context);
        }
        Some(ty) => {
            output.wrapped = true;
            let text = schema.ty.as_ref().map(|text| &text.location);
            output
                .fields
                .extend(rules.single(&ty, text, node, targets.as_deref(), context));
        }
        None => {}
    }
    output
}

/// An output by name: the field it goes to, `None` if there is none of that name.
type Named<'a> = (&'a Text<'a>, Option<FieldId>);

struct Rules<'a> {
    owner: &'a str,
    fields: &'a Fields<'a>,
}

impl Rules<'_> {
    fn targets<'t>(&self, outputs: &'t [Text<'t>], context: &mut Context<'_>) -> Vec<Named<'t>> {
        let mut seen = HashSet::new();
        let mut targets = Vec::new();
        for output in outputs {
            let name = &*output.value;
            let id = self.fields.id(name);
            if !seen.insert(name) {
                let message = format!(
                    "{}: the output {} is listed twice",
                    self.owner,
                    quoted(name)
                );
                context.warning(code::DUPLICATE_OUTPUT, &output.location, message, None);
                continue;
            }
            if id.is_none() && self.fields.known {
                let message = format!(
                    "{}: the output {} is not a state field",
                    self.owner,
                    quoted(name)
                );
                let suggestion = context.suggest(name, self.fields.names());
                context.error(code::UNKNOWN_OUTPUT, &output.location, message, suggestion);
            }
            targets.push((output, id));
        }
        targets
    }

    /// A schema that is no object: one output, of its type.
    fn single(
        &self,
        ty: &Type,
        location: Option<&Location>,
        node: &Written<'_>,
        targets: Option<&[Named<'_>]>,
        context: &mut Context<'_>,
    ) -> Option<OutputField> {
        let &[(_, target)] = targets? else {
            let location = node.view.get("outputs")?.location;
            let message = format!(
                "{}: an answer of type `{ty}` goes to exactly one output",
                self.owner
            );
            let advice = Suggestion::advice(
                "list one field, or use `type: object` with a field for each output",
            );
            context.error(code::ONE_OUTPUT, &location, message, Some(advice));
            return None;
        };
        let target = target?;
        self.same_type(ty, target, location?, context);
        Some(self.output_field(RESULT, target, None))
    }

    /// `type: object`: the names of outputs and fields are the same.
    fn object(
        &self,
        node: &Written<'_>,
        schema: &OutputSchema<'_>,
        targets: Option<&[Named<'_>]>,
        context: &mut Context<'_>,
    ) -> Vec<OutputField> {
        let Some(written) = schema
            .fields
            .as_deref()
            .filter(|fields| !fields.is_empty() || !schema.complete)
        else {
            let (code, verb) = match schema.fields {
                Some(_) => (code::EMPTY, "must not be empty"),
                None => (code::MISSING_KEY, "is missing"),
            };
            let location = Location::new(schema.location.path.key("fields"), schema.location.span);
            let message = format!(
                "{}: `output_schema.fields` {verb}; a `type: object` needs them",
                self.owner
            );
            let advice = Suggestion::advice("list each output with its `name` and `type`");
            context.error(code, &location, message, Some(advice));
            return Vec::new();
        };
        let declared: HashSet<&str> = written.iter().map(|field| &*field.name.value).collect();
        let mut listed = HashSet::new();
        let mut all_known = true;
        for (output, target) in targets.unwrap_or_default() {
            let name = &*output.value;
            listed.insert(name);
            all_known &= target.is_some();
            if target.is_some() && schema.complete && !declared.contains(name) {
                let message = format!(
                    "{}: the output {} is not among the fields of `output_schema`",
                    self.owner,
                    quoted(name)
                );
                let suggestion = context.suggest(name, declared_names(written));
                context.error(
                    code::OUTPUT_NOT_IN_SCHEMA,
                    &output.location,
                    message,
                    suggestion,
                );
            }
        }
        // A misspelled output is reported as such; that its field is missing among the outputs
        // follows from it.
        let outputs_sound = targets.is_some() && all_known && node.outputs.is_some();
        let mut fields = Vec::new();
        let mut seen = HashSet::new();
        for field in written {
            let name = &*field.name.value;
            if !seen.insert(name) {
                let message = format!(
                    "{}: the field {} is declared twice in `output_schema`",
                    self.owner,
                    quoted(name)
                );
                context.warning(code::DUPLICATE_OUTPUT, &field.name.location, message, None);
                continue;
            }
            let target = self.fields.id(name);
            let ty = self.declared_type(field, context);
            if outputs_sound && !listed.contains(name) {
                let message = format!(
                    "{}: the field {} of `output_schema` is not among `outputs`",
                    self.owner,
                    quoted(name)
                );
                let suggestion = context.suggest(name, listed.iter().copied());
                context.error(
                    code::SCHEMA_NOT_IN_OUTPUTS,
                    &field.name.location,
                    message,
                    suggestion,
                );
                continue;
            }
            if let (Some(target), Some(ty)) = (target, ty) {
                self.same_type(&ty, target, &field.ty.location, context);
                let mut output = self.output_field(name, target, field.view.string("description"));
                output.field.sensitive |= field.view.bool("sensitive").unwrap_or(false);
                super::privacy::mark_inner(&mut output.field.ty, &ty);
                fields.push(output);
            }
        }
        fields
    }

    fn declared_type(&self, field: &WrittenField<'_>, context: &mut Context<'_>) -> Option<Type> {
        let what = format!("{}: output field", self.owner);
        let owner = Owner {
            what: &what,
            name: field.name.value.to_string(),
        };
        lower_type(
            &field.ty,
            Some(&field.view),
            &field.view.location,
            &owner,
            context,
        )
    }

    fn same_type(
        &self,
        ty: &Type,
        target: FieldId,
        location: &Location,
        context: &mut Context<'_>,
    ) {
        let Some(wanted) = self.fields.ty(target) else {
            return;
        };
        if !ty.same_as(wanted) {
            let name = quoted(&self.fields.list[target.0].name);
            let message = format!(
                "{}: the answer for {name} is declared `{ty}`, but the state field is `{wanted}`",
                self.owner
            );
            let advice = Suggestion::advice(format!("declare it `{wanted}` in both places"));
            context.error(code::OUTPUT_TYPE, location, message, Some(advice));
        }
    }

    /// What comes back for a state field: its type, constraints and checks, and always required.
    fn output_field(&self, key: &str, target: FieldId, description: Option<String>) -> OutputField {
        let state = &self.fields.list[target.0];
        let field = Field {
            required: true,
            description: description.or_else(|| state.description.clone()),
            sensitive: state.sensitive,
            constraints: state.constraints.clone(),
            checks: state.checks.clone(),
            ..Field::named(key, state.ty.clone())
        };
        OutputField {
            key: key.to_owned(),
            field,
            target,
            nullable: false,
        }
    }
}

fn declared_names<'a>(fields: &'a [WrittenField<'a>]) -> impl Iterator<Item = &'a str> + Clone {
    fields.iter().map(|field| &*field.name.value)
}
