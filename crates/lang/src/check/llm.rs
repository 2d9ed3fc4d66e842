//! Settings of models: headers, fallback models, and temperatures that not every provider takes.

use std::collections::HashSet;

use super::conditions::template;
use super::context::Context;
use super::environment;
use super::names::Scope;
use super::scope::Fields;
use crate::diagnostic::code;
use crate::suggest::Suggestion;
use crate::syntax::config::Config;
use crate::syntax::llm;
use crate::syntax::view::View;
use crate::template::Template;
use crate::workflow::LlmSettings;

/// Providers that take temperatures above 1.
const UP_TO_2: &[&str] = &["openai", "google", "ollama", "offline"];

/// `config.llm`, read.
pub(super) struct GlobalLlm<'a> {
    pub(super) settings: LlmSettings,
    pub(super) system: Option<Template>,
    section: Option<View<'a>>,
}

/// `config.llm`. Its `system` sees the state alone, because it holds for every node.
pub(super) fn global<'a>(
    config: &Config<'a>,
    fields: &Fields<'_>,
    context: &mut Context<'_>,
) -> GlobalLlm<'a> {
    let section = config.llm_section();
    let system = section.as_ref().and_then(|section| section.text("system"));
    let comparisons = context.comparisons.clone();
    let scope = Scope {
        fields,
        nodes: None,
        variables: &[],
        item: None,
        comparisons,
        refuses_bare_fields: false,
    };
    let system = system.filter(|_| fields.known);
    GlobalLlm {
        settings: match &section {
            Some(section) => read(section, "`config.llm`", context),
            None => LlmSettings::default(),
        },
        system: system.map(|text| template(&text, &scope, &[], "`config.llm`", context)),
        section,
    }
}

/// The settings of a node over those of the file.
pub(super) fn of_node(
    node: &View<'_>,
    global: &GlobalLlm<'_>,
    owner: &str,
    context: &mut Context<'_>,
) -> LlmSettings {
    let section = node.mapping("llm", &llm::LLM);
    let own = section
        .as_ref()
        .map(|section| read(section, owner, context))
        .unwrap_or_default();
    let merged = llm::merge(own, &global.settings);
    let takes_more = merged
        .provider
        .as_deref()
        .is_some_and(|provider| UP_TO_2.contains(&provider));
    if let Some(temperature) = merged
        .temperature
        .filter(|degree| *degree > 1.0 && !takes_more)
    {
        let sections = [section.as_ref(), global.section.as_ref()];
        let mut sections = sections.into_iter().flatten();
        if let Some(item) = sections.find_map(|section| section.get("temperature"))
            && temperature <= 2.0
        {
            let known = crate::suggest::known_list(UP_TO_2.iter().copied());
            let message = format!(
                "{owner}: `llm.temperature` is {temperature}; it must be from 0 to 1 unless `provider` is one of {known}"
            );
            context.error(code::OUT_OF_RANGE, &item.location, message, None);
        }
    }
    merged
}

fn read(section: &View<'_>, owner: &str, context: &mut Context<'_>) -> LlmSettings {
    let mut settings = llm::read(section);
    if section.get("extra_headers").is_some() {
        let headers = environment::headers(section, "extra_headers", owner, context);
        settings.extra_headers = Some(headers);
    }
    let fallbacks = llm::fallbacks(section);
    let mut seen = HashSet::new();
    for fallback in &fallbacks {
        let model = &fallback.model;
        let problem = if model.provider.is_none() && model.model.is_none() {
            "names neither a provider nor a model"
        } else if !seen.insert(model) {
            "is listed twice"
        } else {
            continue;
        };
        let message = format!("{owner}: a model of `fallback` {problem}");
        let advice = Suggestion::advice("write `{provider: …, model: …}`, each model once");
        context.error(code::FALLBACK, &fallback.location, message, Some(advice));
    }
    if let Some(item) = section.get("fallback_on").filter(|_| fallbacks.is_empty()) {
        let message = format!("{owner}: `fallback_on` has no effect without `fallback`");
        let advice = Suggestion::advice("add `fallback`, or remove it");
        context.warning(code::NO_EFFECT, &item.location, message, Some(advice));
    }
    settings
}
