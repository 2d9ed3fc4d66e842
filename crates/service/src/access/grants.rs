//! What a key may do.

use std::collections::BTreeSet;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// A group of operations that a key may use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Scope {
    /// Start, retry, cancel and delete jobs.
    Run,
    /// Read jobs and their events.
    Read,
    /// Read the metrics of all jobs; all that a scraper needs.
    Metrics,
    /// All of these, for the jobs of every key; and create, rotate and revoke keys.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Run, Self::Read, Self::Metrics, Self::Admin];

    /// The name, as in requests and lists of keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Read => "read",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                format!("`{text}` is not a scope; the scopes are run, read, metrics and admin")
            })
    }
}

/// All that a key may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// What the key may do: at least one scope.
    pub scopes: BTreeSet<Scope>,
    /// The workflows that the key may use; `null`: all of them.
    #[serde(default)]
    pub workflows: Option<BTreeSet<String>>,
    /// How much the key may use.
    #[serde(default)]
    pub limits: Limits,
}

impl Default for Grants {
    /// What a client needs that starts runs and reads their results.
    fn default() -> Self {
        Self {
            scopes: [Scope::Run, Scope::Read].into(),
            workflows: None,
            limits: Limits::default(),
        }
    }
}

impl Grants {
    /// Whether the parts fit together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.scopes.is_empty() {
            return Err("a key needs at least one scope: run, read, metrics or admin");
        }
        self.limits.check()?;
        match &self.workflows {
            Some(workflows) if workflows.is_empty() => {
                Err("a key that is restricted to workflows must name at least one")
            }
            Some(_) if self.has(Scope::Admin) || self.has(Scope::Metrics) => {
                Err("a key with the scope admin or metrics cannot be restricted to workflows")
            }
            _ => Ok(()),
        }
    }

    fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether a scope is granted, by itself or by `admin`.
    pub fn allow(&self, scope: Scope) -> bool {
        self.has(scope) || self.has(Scope::Admin)
    }

    /// Whether the key may use a workflow.
    pub fn allow_workflow(&self, name: &str) -> bool {
        self.workflows
            .as_ref()
            .is_none_or(|workflows| workflows.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(scopes: &[Scope], workflows: Option<&[&str]>) -> Grants {
        Grants {
            scopes: scopes.iter().copied().collect(),
            workflows: workflows.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            limits: Limits::default(),
        }
    }

    #[test]
    fn admin_covers_the_others_and_they_cover_themselves() {
        for (granted, allowed) in [
            (Scope::Run, [true, false, false, false]),
            (Scope::Read, [false, true, false, false]),
            (Scope::Metrics, [false, false, true, false]),
            (Scope::Admin, [true, true, true, true]),
        ] {
            let grants = grants(&[granted], None);
            assert_eq!(
                Scope::ALL.map(|scope| grants.allow(scope)),
                allowed,
                "{granted:?}"
            );
        }
    }

    #[test]
    fn a_restricted_key_has_its_workflows_only() {
        let restricted = grants(&[Scope::Run], Some(&["a"]));
        assert!(restricted.allow_workflow("a") && !restricted.allow_workflow("b"));
        assert!(Grants::default().allow_workflow("b"));
    }

    #[test]
    fn what_was_granted_before_there_were_limits_is_not_limited() {
        let read: Grants =
            serde_json::from_str(r#"{"scopes": ["run"], "workflows": null}"#).unwrap();
        assert_eq!(read, grants(&[Scope::Run], None));
    }

    #[test]
    fn grants_that_make_no_sense_are_refused() {
        assert!(Grants::default().check().is_ok());
        assert!(grants(&[], None).check().is_err());
        assert!(grants(&[Scope::Run], Some(&[])).check().is_err());
        assert!(grants(&[Scope::Admin], Some(&["a"])).check().is_err());
        assert!(grants(&[Scope::Metrics], Some(&["a"])).check().is_err());
    }
}
