//! Comparing what a fan-out collects with the list it goes to.

use crate::check::context::Context;
use crate::check::scope::Fields;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::types::Type;
use crate::workflow::{FanOut, Node};

/// What a fan-out collects must have the item type of the list it goes to: the value of the
/// target's one output, or an object of its several.
pub(crate) fn check_collected(
    fan_outs: &[(FanOut, Location)],
    nodes: &[Node],
    fields: &Fields<'_>,
    context: &mut Context<'_>,
) {
    for (fan_out, location) in fan_outs {
        let Some(Type::List(Some(item))) = fields.ty(fan_out.collect) else {
            continue;
        };
        let node = &nodes[fan_out.target.0];
        let (fits, produced) = match &node.output.fields[..] {
            [] => continue,
            [one] => match fields.ty(one.target) {
                Some(ty) => (ty.same_as(item), format!("`{ty}`")),
                None => continue,
            },
            _ => (
                matches!(**item, Type::Dict(None) | Type::Object(None)),
                "an object of its outputs".to_owned(),
            ),
        };
        if !fits {
            let name = quoted(&fields.list[fan_out.collect.0].name);
            let message = format!(
                "the field {name} collects items of type `{item}`, but node {} produces {produced}",
                quoted(&node.id)
            );
            let advice =
                Suggestion::advice("change the item type of the field, or declare it `list`");
            context.error(code::FIELD_TYPE, location, message, Some(advice));
        }
    }
}
