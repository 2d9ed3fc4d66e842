//! The name of a deployment: of its container, its image, its volume, and its objects in
//! Kubernetes.

use std::fmt;

/// The longest name: with a suffix such as `-data` it must fit the 63 characters of Kubernetes.
const MAX: usize = 50;

/// The name of a deployment: groups of lower-case letters and digits, joined by one `-`, `_` or
/// `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` cannot name a container: use lower-case letters and digits, with single `-`, `_` or `.` between them, \
     {MAX} characters at most"
)]
pub struct NameError {
    given: String,
    /// A similar text that is a name.
    pub suggestion: Name,
}

impl Name {
    /// Reads a name that the user chose.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let groups_hold = text
            .split(['-', '_', '.'])
            .all(|group| !group.is_empty() && group.bytes().all(is_part));
        if groups_hold && text.len() <= MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError {
                given: text.to_owned(),
                suggestion: Self::near(text),
            })
        }
    }

    /// Makes a name of any text, such as a workflow's: what does not fit becomes a single `-`.
    pub fn near(text: &str) -> Self {
        let mut name = String::new();
        for character in text.chars().flat_map(char::to_lowercase) {
            if character.is_ascii_lowercase() || character.is_ascii_digit() {
                name.push(character);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            if name.len() == MAX {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        Self(if name.is_empty() { "workflow" } else { name }.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The volume that holds the jobs.
    pub fn volume(&self) -> String {
        format!("{self}-data")
    }

    /// The name for objects in Kubernetes: it begins with a letter, and has letters, digits and
    /// `-`.
    pub fn in_kubernetes(&self) -> String {
        let name = self.0.replace(['_', '.'], "-");
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            format!("w-{name}")
        } else {
            name
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_docker_takes() {
        for name in ["a", "greeting", "a-b_c.d2", "2nd"] {
            assert_eq!(Name::parse(name).expect(name).as_str(), name);
        }
        for (given, near) in [
            ("", "workflow"),
            ("-a", "a"),
            ("a-", "a"),
            ("a--b", "a-b"),
            ("A b", "a-b"),
            ("grüße", "gr-e"),
            ("\"; rm -rf /", "rm-rf"),
            ("\u{200b}", "workflow"),
        ] {
            let error = Name::parse(given).expect_err(given);
            assert_eq!(error.suggestion.as_str(), near, "{given}");
            assert!(Name::parse(near).is_ok(), "{near}");
        }
        let long = "ab ".repeat(40);
        assert!(Name::parse(Name::near(&long).as_str()).is_ok());
    }

    #[test]
    fn names_that_kubernetes_takes() {
        let check = |name: &str, expected: &str| {
            let name = Name::parse(name).expect("a name");
            assert_eq!(name.in_kubernetes(), expected);
        };
        check("a_b.c", "a-b-c");
        check("2nd", "w-2nd");
    }
}
