//! What a key may do.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// A part of what can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Start, repeat, cancel and forget jobs.
    Run,
    /// Look at jobs and their events.
    Read,
    /// Look at what is counted of all jobs: for what scrapes it, which needs no more.
    Metrics,
    /// All of it, with the jobs of every key; and make, rotate and revoke keys.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Run, Self::Read, Self::Metrics, Self::Admin];

    /// As it is written.
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
            .ok_or_else(|| format!("`{text}` is no scope; there are run, read, metrics and admin"))
    }
}

/// All that a key may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grants {
    /// At least one.
    pub scopes: BTreeSet<Scope>,
    /// Only these workflows; `None`: all of them.
    #[serde(default)]
    pub workflows: Option<BTreeSet<String>>,
    /// How much of it.
    #[serde(default)]
    pub limits: Limits,
}

impl Default for Grants {
    /// What a client needs that starts runs and asks what became of them.
    fn default() -> Self {
        Self {
            scopes: [Scope::Run, Scope::Read].into(),
            workflows: None,
            limits: Limits::default(),
        }
    }
}

impl Grants {
    /// Whether they make sense together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.scopes.is_empty() {
            return Err("a key needs at least one scope: run, read, metrics or admin");
        }
        self.limits.check()?;
        match &self.workflows {
            Some(workflows) if workflows.is_empty() => {
                Err("a key that is restricted to workflows has to name at least one")
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

    /// Whether that scope is granted, by itself or by `admin`.
    pub fn allow(&self, scope: Scope) -> bool {
        self.has(scope) || self.has(Scope::Admin)
    }

    /// Whether it may have to do with that workflow.
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
