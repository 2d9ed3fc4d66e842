//! What of a run may be shown to others than its caller. Each run has one [`Capture`], which
//! [`run`](crate::run::run) makes and the observer receives before the first event.
//!
//! Two rules meet here. *Sensitive* fields are always masked: in events, in failures, in everything
//! that telemetry keeps. The *level* (`capture` of the file, limited by the server's) says whether
//! telemetry keeps content at all; it does not concern events, which are part of the API. The
//! sensitive values to look for are learned from the state and from every answer, before anything
//! of them is shown.

mod deltas;
mod known;
mod masked_scope;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};

use lang::fault::is_within;
use lang::privacy::{MASK, Sensitive};
use lang::workflow::{self, CaptureLevel, FieldId, Node, NodeId, Workflow};
use llm::chat::Content;
use serde_json::{Map, Value};

use crate::offload::{self, MAX_INLINE_BYTES};
use crate::outcome::Failure;
use known::{Known, lock, search};

pub(crate) use deltas::Deltas;
pub(crate) use masked_scope::MaskedScope;

/// What of one run may be shown. Costs nothing where no field is sensitive.
#[derive(Debug)]
pub struct Capture {
    workflow: Arc<Workflow>,
    /// The highest level that the server allows, whatever the file says.
    ceiling: CaptureLevel,
    /// Absent where no field is sensitive.
    known: Option<Mutex<Known>>,
}

impl Capture {
    /// The capture of a run that has no values yet.
    pub fn new(workflow: Arc<Workflow>, ceiling: CaptureLevel) -> Self {
        let known = workflow.sensitive.as_ref().map(|_| Mutex::default());
        Self {
            workflow,
            ceiling,
            known,
        }
    }

    /// How much telemetry may keep of the run's inputs, outputs and state.
    pub fn run_level(&self) -> CaptureLevel {
        self.workflow.capture.level.min(self.ceiling)
    }

    /// How much telemetry may keep of a node's outputs and tool data.
    pub fn node_level(&self, node: &str) -> CaptureLevel {
        self.setting(node).level.min(self.ceiling)
    }

    /// How much telemetry may keep of a node's prompts and answers.
    pub fn prompt_level(&self, node: &str) -> CaptureLevel {
        let most = if self.setting(node).prompts {
            CaptureLevel::Full
        } else {
            CaptureLevel::Metadata
        };
        self.node_level(node).min(most)
    }

    /// Whether artifacts of the run (`None`) or of a node may be kept (`log_artifacts`).
    pub fn keeps_artifacts(&self, node: Option<&str>) -> bool {
        match node {
            Some(node) => {
                self.setting(node).artifacts && self.node_level(node) == CaptureLevel::Full
            }
            None => self.workflow.capture.artifacts && self.run_level() == CaptureLevel::Full,
        }
    }

    /// A prompt as telemetry may keep it; `None` where it may keep no content.
    pub fn prompt<'t>(&self, node: &str, prompt: &'t str) -> Option<Cow<'t, str>> {
        (self.prompt_level(node) == CaptureLevel::Full).then(|| self.masked_prompt(prompt))
    }

    /// An answer as telemetry may keep it, structure as JSON; `None` where it may keep no content.
    pub fn reply<'t>(&self, node: &str, content: &'t Content) -> Option<Cow<'t, str>> {
        (self.prompt_level(node) == CaptureLevel::Full).then(|| self.masked_reply(node, content))
    }

    /// A masked answer, regardless of the level.
    pub fn masked_reply<'t>(&self, node: &str, content: &'t Content) -> Cow<'t, str> {
        let touched = self
            .workflow
            .node(node)
            .filter(|id| self.writes_sensitive(*id));
        match (content, touched) {
            (Content::Text(text), None) => self.text(text),
            // The sensitive value is somewhere in the text.
            (Content::Text(_), Some(_)) => Cow::Borrowed(MASK),
            (Content::Json(answer), None) => self.value(answer).to_string().into(),
            (Content::Json(answer), Some(id)) => self.masked_answer(id, answer).to_string().into(),
        }
    }

    /// Inputs, outputs or a state by field, as telemetry may keep them.
    pub fn fields(&self, named: &Map<String, Value>) -> Option<Map<String, Value>> {
        (self.run_level() == CaptureLevel::Full).then(|| self.masked_fields(named))
    }

    /// A state, one value per field, as telemetry may keep it.
    pub fn state(&self, state: &[Value]) -> Option<Map<String, Value>> {
        (self.run_level() == CaptureLevel::Full)
            .then(|| self.masked_fields(&self.workflow.state_object(state)))
    }

    /// A node's outputs by field, as telemetry may keep them. The outputs of an event are masked
    /// already, and masking them again changes nothing.
    pub fn outputs(&self, node: &str, named: &Map<String, Value>) -> Option<Map<String, Value>> {
        (self.node_level(node) == CaptureLevel::Full).then(|| self.masked_fields(named))
    }

    /// What went into a tool or came out of it, as telemetry may keep it.
    pub fn tool<'v>(&self, node: &str, data: &'v Value) -> Option<Cow<'v, Value>> {
        (self.node_level(node) == CaptureLevel::Full).then(|| self.value(data))
    }

    /// A sentence, such as an error message, with every sensitive value masked. Sentences are shown
    /// at any level: they say what went wrong, and are made without prompts and answers.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.known {
            Some(known) => offload::run(text.len() > MAX_INLINE_BYTES, || search(known).mask(text)),
            None => Cow::Borrowed(text),
        }
    }

    /// Any JSON value, with every sensitive value in it masked.
    pub fn value<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        match &self.known {
            Some(known) => {
                let is_long = !is_within(value, MAX_INLINE_BYTES);
                offload::run(is_long, || search(known).mask_value(value))
            }
            None => Cow::Borrowed(value),
        }
    }

    fn setting(&self, node: &str) -> workflow::Capture {
        match self.workflow.node(node) {
            Some(id) => self.node(id).capture,
            None => self.workflow.capture,
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.workflow.nodes[id.0]
    }
}

/// For the engine: masking regardless of the level, and learning. Does nothing where no field is
/// sensitive.
impl Capture {
    /// The sensitive fields and the values that are known of them; `None` where no field is
    /// sensitive.
    fn hiding(&self) -> Option<(&Sensitive, MutexGuard<'_, Known>)> {
        Some((
            self.workflow.sensitive.as_ref()?,
            lock(self.known.as_ref()?),
        ))
    }

    /// Whether the workflow has sensitive fields.
    pub(crate) fn hides(&self) -> bool {
        self.known.is_some()
    }

    /// Learns the values that a run begins or goes on with.
    pub(crate) fn learn<'v>(&self, values: impl Iterator<Item = (FieldId, &'v Value)>) {
        if let Some((sensitive, mut known)) = self.hiding() {
            for (field, value) in values {
                sensitive.learn(field, value, &mut known.secrets);
            }
        }
    }

    /// Learns the sensitive values of an answer, before it is checked. An answer that does not fit
    /// is quoted to the model, so a text in which the value cannot be found is hidden as a whole.
    pub(crate) fn learn_answer(&self, id: NodeId, content: &Content) {
        let Some((sensitive, mut known)) = self.hiding() else {
            return;
        };
        for output in &self.node(id).output.fields {
            if !sensitive.touches(output.target) {
                continue;
            }
            match content {
                Content::Json(Value::Object(answer)) => {
                    if let Some(value) = answer.get(&output.key) {
                        sensitive.learn(output.target, value, &mut known.secrets);
                    }
                }
                Content::Json(other) => sensitive.learn(output.target, other, &mut known.secrets),
                Content::Text(text) => known.secrets.add(text),
            }
        }
    }

    /// Learns the text of an answer that will be quoted to the model.
    pub(crate) fn learn_quoted(&self, id: NodeId, text: &str) {
        if let Some((_, mut known)) = self.hiding()
            && self.writes_sensitive(id)
        {
            known.secrets.add(text);
        }
    }

    /// A node's outputs as an event shows them.
    pub(crate) fn masked_outputs(&self, named: &Value) -> Option<Value> {
        self.known.as_ref()?;
        Some(Value::Object(self.masked_fields(named.as_object()?)))
    }

    /// Inputs, outputs or a state by field, regardless of the level: sensitive fields are masked
    /// first, then known values in other fields.
    pub fn masked_fields(&self, named: &Map<String, Value>) -> Map<String, Value> {
        if self.known.is_none() {
            return named.clone();
        }
        let masked = Value::Object(self.workflow.masked(named));
        let masked = match self.value(&masked) {
            Cow::Owned(value) => value,
            Cow::Borrowed(_) => masked,
        };
        match masked {
            Value::Object(entries) => entries,
            other => unreachable!("an object stays one, and is not {other}"),
        }
    }

    /// Masks every sensitive value in a sentence.
    pub(crate) fn mask_text(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    /// Masks every sensitive value in a failure's sentence.
    pub(crate) fn mask_failure(&self, failure: &mut Failure) {
        self.mask_text(&mut failure.message);
    }

    /// Remembers the masked form of a prompt in flight.
    pub(crate) fn enter_prompt(&self, prompt: &str, masked: String) {
        if let Some(known) = &self.known {
            lock(known).prompts.push((prompt.to_owned(), masked));
        }
    }

    /// Forgets the masked form of a prompt.
    pub(crate) fn leave_prompt(&self, prompt: &str) {
        if let Some(known) = &self.known {
            let prompts = &mut lock(known).prompts;
            if let Some(position) = prompts.iter().position(|(real, _)| prompt == real) {
                prompts.swap_remove(position);
            }
        }
    }

    /// A masked prompt, regardless of the level.
    pub fn masked_prompt<'t>(&self, prompt: &'t str) -> Cow<'t, str> {
        let Some(known) = &self.known else {
            return Cow::Borrowed(prompt);
        };
        // A retry appends a remark to the prompt.
        let entered = lock(known)
            .prompts
            .iter()
            .filter(|(real, _)| prompt.starts_with(real))
            .max_by_key(|(real, _)| real.len())
            .map(|(real, masked)| (real.len(), masked.clone()));
        offload::run(prompt.len() > MAX_INLINE_BYTES, || {
            let search = search(known);
            match entered {
                Some((length, masked)) => {
                    let remark = &prompt[length..];
                    format!("{}{}", search.mask(&masked), search.mask(remark)).into()
                }
                None => search.mask(prompt),
            }
        })
    }

    fn masked_answer(&self, id: NodeId, answer: &Value) -> Value {
        let (Value::Object(entries), Some(sensitive)) = (answer, &self.workflow.sensitive) else {
            return Value::from(MASK);
        };
        let mut masked = entries.clone();
        for output in &self.node(id).output.fields {
            if let Some(value) = masked.get_mut(&output.key)
                && sensitive.touches(output.target)
            {
                *value = sensitive.mask(output.target, value).into_owned();
            }
        }
        let masked = Value::Object(masked);
        self.value(&masked).into_owned()
    }

    /// Whether an answer of the node is or holds something sensitive.
    pub(crate) fn writes_sensitive(&self, id: NodeId) -> bool {
        self.workflow.sensitive.as_ref().is_some_and(|sensitive| {
            let mut outputs = self.node(id).output.fields.iter();
            outputs.any(|output| sensitive.touches(output.target))
        })
    }

    /// How the pieces of one answer may be shown.
    pub(crate) fn deltas(&self, id: NodeId) -> Deltas<'_> {
        match &self.known {
            None => Deltas::Unmasked,
            Some(_) if self.writes_sensitive(id) => Deltas::Never,
            Some(known) => Deltas::Masked {
                known,
                text: Box::default(),
            },
        }
    }
}
