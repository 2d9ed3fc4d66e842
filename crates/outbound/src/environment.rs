//! A snapshot of the environment. `cli` makes it; no other crate reads the real environment.

use std::collections::HashMap;
use std::fmt;

/// Environment variables by name. Keys, base addresses and proxies are looked up only here.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// The trimmed value of a variable. An empty or blank variable counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}

/// Shows only the number of variables, because values may be keys.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.variables.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_variables_count_as_not_set_and_values_are_trimmed() {
        let environment: Environment = [("A", " "), ("B", " key\n")].into_iter().collect();
        assert_eq!(
            (
                environment.get("A"),
                environment.get("B"),
                environment.get("C")
            ),
            (None, Some("key"), None)
        );
    }

    #[test]
    fn debug_output_holds_no_values() {
        let environment: Environment = [("OPENAI_API_KEY", "sk-secret")].into_iter().collect();
        assert!(!format!("{environment:?}").contains("secret"));
    }
}
