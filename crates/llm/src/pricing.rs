//! What models cost. The built-in table is data beside this file; a user's own table lies over it.
//!
//! A model without an entry has no price: a cost is never guessed. Local models have none unless
//! the user's table names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::Error;
use crate::chat::Usage;
use crate::error::ErrorKind;

/// Prices by provider and model.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceTable {
    version: Arc<str>,
    providers: BTreeMap<String, BTreeMap<String, Price>>,
}

/// One model's prices, in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens read from the provider's cache; `None`: as other prompt tokens.
    pub cached_input: Option<f64>,
    /// Answer tokens, including reasoning.
    pub output: f64,
    /// Prices of a call with a long prompt.
    pub long: Option<LongPrice>,
}

/// Prices of a whole call whose prompt is longer than a bound.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    /// Prompt tokens up to which the ordinary prices hold.
    pub above: u64,
    /// As in [`Price`].
    pub input: f64,
    /// As in [`Price`].
    pub cached_input: Option<f64>,
    /// As in [`Price`].
    pub output: f64,
}

/// The file's form: `version` and a table per provider.
#[derive(Deserialize)]
struct File {
    version: Option<String>,
    #[serde(flatten)]
    providers: BTreeMap<String, BTreeMap<String, Price>>,
}

impl PriceTable {
    /// The table that comes with the program.
    #[expect(clippy::missing_panics_doc, reason = "a test reads the built-in table")]
    pub fn built_in() -> Self {
        let file: File =
            toml::from_str(include_str!("pricing.toml")).expect("a test reads the built-in table");
        Self {
            version: file.version.unwrap_or_default().into(),
            providers: file.providers,
        }
    }

    /// The table with a user's laid over it, model by model: TOML or JSON in the form of the
    /// built-in one, `{"openai": {"my-model": {"input": 1, "output": 2}}}`. The version becomes the
    /// user's, or says that there are overrides. An error (`ErrorKind::Config`) says where the text
    /// is wrong.
    pub fn with_overrides(mut self, text: &str) -> Result<Self, Error> {
        let read: Result<File, String> = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            toml::from_str(text).map_err(|error| error.to_string())
        };
        let file = read.map_err(|error| config(&error))?;
        for (provider, models) in &file.providers {
            for (model, price) in models {
                if !price.is_sane() {
                    return Err(config(&format!(
                        "{provider}/{model}: prices are dollars per million tokens, 0 or more"
                    )));
                }
            }
        }
        self.version = file
            .version
            .unwrap_or_else(|| format!("{}+overrides", self.version))
            .into();
        for (provider, models) in file.providers {
            self.providers.entry(provider).or_default().extend(models);
        }
        Ok(self)
    }

    /// The date of the prices.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// A model's price, by its exact name or by the name it is a dated version of.
    pub fn price(&self, provider: &str, model: &str) -> Option<&Price> {
        let models = self.providers.get(provider)?;
        let model = model.strip_prefix("models/").unwrap_or(model);
        models.get(model).or_else(|| models.get(undated(model)?))
    }

    /// What a call cost in US dollars; `None` for a model without a price.
    pub fn cost_usd(&self, provider: &str, model: &str, usage: &Usage) -> Option<f64> {
        Some(self.price(provider, model)?.of(usage))
    }
}

impl Price {
    /// What a call cost, in US dollars.
    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^52"
    )]
    fn of(&self, usage: &Usage) -> f64 {
        let (input, cached_input, output) = match self.long {
            Some(long) if usage.input_tokens > long.above => {
                (long.input, long.cached_input, long.output)
            }
            _ => (self.input, self.cached_input, self.output),
        };
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        let dollars = fresh as f64 * input
            + cached as f64 * cached_input.unwrap_or(input)
            + usage.output_tokens as f64 * output;
        dollars / 1_000_000.0
    }

    fn is_sane(&self) -> bool {
        let long = self
            .long
            .map(|long| [Some(long.input), long.cached_input, Some(long.output)]);
        let all = [Some(self.input), self.cached_input, Some(self.output)]
            .into_iter()
            .chain(long.into_iter().flatten());
        all.flatten().all(|price| price.is_finite() && price >= 0.0)
    }
}

/// The name without `-2024-07-18`, `-20251001`, `-001` or `-latest`.
fn undated(model: &str) -> Option<&str> {
    if let Some(base) = model.strip_suffix("-latest") {
        return Some(base);
    }
    let digits = |text: &str, lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (rest, last) = model.rsplit_once('-')?;
    if digits(last, &[8, 3]) {
        return Some(rest);
    }
    let (rest, month) = rest.rsplit_once('-')?;
    let (base, year) = rest.rsplit_once('-')?;
    (digits(year, &[4]) && digits(month, &[2]) && digits(last, &[2])).then_some(base)
}

fn config(what: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("the price table cannot be read: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(provider: &str, model: &str, usage: (u64, u64, u64), expected: Option<f64>) {
        let usage = Usage {
            input_tokens: usage.0,
            cached_tokens: usage.1,
            output_tokens: usage.2,
            is_estimated: false,
        };
        let cost = PriceTable::built_in().cost_usd(provider, model, &usage);
        match (cost, expected) {
            (Some(cost), Some(expected)) => assert!(
                (cost - expected).abs() < 1e-9,
                "{cost}, expected {expected}"
            ),
            (cost, expected) => assert_eq!(cost, expected),
        }
    }

    #[test]
    fn known_models() {
        check(
            "openai",
            "gpt-4o-mini",
            (1_000_000, 0, 1_000_000),
            Some(0.75),
        );
        check(
            "anthropic",
            "claude-haiku-4-5",
            (1_000_000, 0, 0),
            Some(1.0),
        );
        check(
            "google",
            "gemini-2.5-flash-lite",
            (0, 0, 1_000_000),
            Some(0.4),
        );
        check(
            "google",
            "models/gemini-2.5-flash-lite",
            (0, 0, 0),
            Some(0.0),
        );
    }

    #[test]
    fn cached_tokens_cost_less() {
        check(
            "openai",
            "gpt-4o-mini",
            (1_000_000, 400_000, 0),
            Some(0.6 * 0.15 + 0.4 * 0.075),
        );
        check(
            "openai",
            "gpt-3.5-turbo",
            (1_000_000, 400_000, 0),
            Some(0.5),
        );
        check(
            "openai",
            "gpt-4o-mini",
            (10, 20, 0),
            Some(0.075 * 10.0 / 1e6),
        );
    }

    #[test]
    fn long_prompts_cost_more() {
        check("google", "gemini-2.5-pro", (200_000, 0, 0), Some(0.25));
        check("google", "gemini-2.5-pro", (400_000, 0, 0), Some(1.0));
    }

    #[test]
    fn dated_versions_cost_what_their_model_costs() {
        check(
            "openai",
            "gpt-4o-mini-2024-07-18",
            (1_000_000, 0, 0),
            Some(0.15),
        );
        check("openai", "gpt-4o-2024-05-13", (1_000_000, 0, 0), Some(5.0));
        check(
            "anthropic",
            "claude-haiku-4-5-20251001",
            (1_000_000, 0, 0),
            Some(1.0),
        );
        check(
            "anthropic",
            "claude-3-5-haiku-latest",
            (1_000_000, 0, 0),
            Some(0.8),
        );
        check(
            "google",
            "gemini-2.0-flash-001",
            (1_000_000, 0, 0),
            Some(0.1),
        );
    }

    #[test]
    fn unknown_models_have_no_price() {
        check("openai", "gpt-4o-mini-tts", (1, 0, 1), None);
        check("openai", "claude-haiku-4-5", (1, 0, 1), None);
        check("ollama", "llama3.2", (1, 0, 1), None);
        check("openai", "-", (1, 0, 1), None);
    }

    #[test]
    fn a_users_table_lies_over_the_built_in_one() {
        let usage = Usage {
            input_tokens: 1_000_000,
            cached_tokens: 0,
            output_tokens: 0,
            is_estimated: false,
        };
        for text in [
            "[ollama]\n\"llama3.2\" = { input = 1, output = 2 }\n[openai]\n\"gpt-4o\" = { input = 9, output = 9 }",
            r#"{"ollama": {"llama3.2": {"input": 1, "output": 2}}, "openai": {"gpt-4o": {"input": 9, "output": 9}}}"#,
        ] {
            let table = PriceTable::built_in().with_overrides(text).unwrap();
            assert_eq!(table.cost_usd("ollama", "llama3.2", &usage), Some(1.0));
            assert_eq!(table.cost_usd("openai", "gpt-4o", &usage), Some(9.0));
            assert!(table.cost_usd("openai", "gpt-4o-mini", &usage).is_some());
            assert_eq!(
                &**table.version(),
                format!("{}+overrides", PriceTable::built_in().version())
            );
        }
    }

    #[test]
    fn a_table_may_bring_its_own_version() {
        let table = PriceTable::built_in()
            .with_overrides("version = \"ours-7\"")
            .unwrap();
        assert_eq!(&**table.version(), "ours-7");
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let error = PriceTable::built_in().with_overrides(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(part), "{}", error.message);
    }

    #[test]
    fn unreadable_tables_are_refused() {
        check_refused("[openai", "the price table cannot be read");
        check_refused(r#"{"openai": {"m": {"input": 1}}}"#, "output");
        check_refused(
            r#"{"openai": {"m": {"input": 1, "output": 1, "inptu": 1}}}"#,
            "inptu",
        );
        check_refused(
            r#"{"openai": {"m": {"input": -1, "output": 1}}}"#,
            "openai/m: prices are dollars",
        );
    }
}
