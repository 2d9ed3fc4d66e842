//! Compiling the regular expressions of a file, with a limit on their memory.

use regex::{Regex, RegexBuilder};

/// Counts the patterns compiled so far. A short pattern can take megabytes and long to compile, so
/// a file may hold many patterns that stay small and a few that do not.
#[derive(Default)]
pub(super) struct Patterns {
    all: usize,
    large: usize,
}

/// Most patterns in one file, and most of them that are large.
const MOST: usize = 1000;
const MOST_LARGE: usize = 16;
/// Most memory of a compiled pattern that is not large, and of one that is, in bytes.
const SMALL_BYTES: usize = 32 << 10;
const LARGE_BYTES: usize = 2 << 20;

impl Patterns {
    /// The compiled pattern, or why there is none.
    pub(super) fn compile(&mut self, text: &str) -> Result<Regex, String> {
        self.all += 1;
        if self.all > MOST {
            return Err(format!("a file may hold {MOST} patterns at most"));
        }
        let compile = |bytes| RegexBuilder::new(text).size_limit(bytes).build();
        let compiled = match compile(SMALL_BYTES) {
            Err(regex::Error::CompiledTooBig(_)) if self.large < MOST_LARGE => {
                self.large += 1;
                compile(LARGE_BYTES)
            }
            compiled => compiled,
        };
        compiled.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it takes too much memory".to_owned(),
            // The message of the library quotes the pattern first; the reason is its last line.
            error => error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
        })
    }
}
