//! Which model a call asks, by the name that the rule gives or by none, and what its answer records of it.

use serde_json::{Value as Json, json};

use crate::domain::{Shape, Verdict};
use crate::models::{Known, Models, NoModel};

/// The field of an input that names the model. Where it is known which there are, the checker looks at the name.
pub(super) fn shape(models: &Models) -> Json {
    let mut shape = Shape::text(
        200,
        "The model: the one in this process, or one of `model.upstreams`, by its name. `NAME@DIGEST`, with at least 8 \
         digits of the digest that answers record, asks that very model and no other. Default: the one in this process.",
    );
    if !models.names().is_empty() {
        shape["models"] = json!(models.names());
    }
    shape
}

/// The field of an answer that says which model it was.
pub(super) fn recorded() -> Json {
    Shape::text(200, "The model: `NAME@DIGEST`; the digest is of its files, of an upstream of its address and model.")
}

/// The field of an answer that says what the model read.
pub(super) fn prompt_digest() -> Json {
    Shape::text(64, "The digest of the prompt as the model saw it.")
}

/// The model that is asked.
pub(super) fn find<'m>(models: &'m Models, named: Option<&str>) -> Result<&'m Known, Verdict> {
    models.find(named).map_err(|error| match error {
        NoModel::Other { .. } => Verdict::refused("other_model", error.to_string()),
        NoModel::Usual | NoModel::Unknown { .. } => Verdict::refused("no_model", error.to_string()),
    })
}
