//! MCP servers that a workflow names.

use std::fmt;
use std::time::Duration;

use super::tools::{Effects, ToolFilter};

/// A server of `mcp_servers`.
#[derive(Debug, Clone, PartialEq)]
pub struct McpServer {
    /// The name that the file and, as a prefix, models use.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// Longest time for one request; `None` for the client's own.
    pub timeout: Option<Duration>,
    /// Whether a run fails where the server cannot be reached.
    pub required: bool,
    /// Which of its tools exist for this workflow.
    pub filter: ToolFilter,
    /// What repeating a call of any of its tools does; `None` where nothing is known.
    pub effects: Option<Effects>,
    /// A hash that pins its names, descriptions and schemas of tools.
    pub pin: Option<String>,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum McpTransport {
    /// By HTTP.
    Http {
        /// Address with `http` or `https`.
        url: String,
        /// Sent with each request.
        headers: Vec<(String, FromEnvironment)>,
    },
    /// As a child process, over its standard input and output.
    Child {
        /// Program and arguments; never empty.
        command: Vec<String>,
        /// Its whole environment.
        env: Vec<(String, FromEnvironment)>,
        /// Its working directory; `None` for flowmill's own.
        cwd: Option<String>,
    },
}

/// Text with `${VARIABLES}` of the environment. It may be a secret, so it is not shown in debug
/// output.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FromEnvironment {
    /// In order.
    pub pieces: Vec<EnvironmentPiece>,
}

/// A part of a [`FromEnvironment`].
#[derive(Clone, PartialEq, Eq)]
pub enum EnvironmentPiece {
    /// Text that is copied as it is.
    Text(String),
    /// The value of the variable of that name.
    Variable(String),
}

impl FromEnvironment {
    /// The variables it needs, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            EnvironmentPiece::Variable(name) => Some(name.as_str()),
            EnvironmentPiece::Text(_) => None,
        })
    }

    /// The text with the variables' values in place. The error is the name of a variable without a
    /// value.
    pub fn fill(&self, value_of: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                EnvironmentPiece::Text(verbatim) => text.push_str(verbatim),
                EnvironmentPiece::Variable(name) => text.push_str(&value_of(name).ok_or(&**name)?),
            }
        }
        Ok(text)
    }
}

impl fmt::Debug for FromEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.variables().collect();
        f.debug_struct("FromEnvironment")
            .field("variables", &variables)
            .finish_non_exhaustive()
    }
}
