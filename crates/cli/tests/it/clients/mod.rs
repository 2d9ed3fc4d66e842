//! Clients, fuzzers and linters that we did not write, against the served API of the examples.

mod documents;
mod fuzzing;
mod generated;
mod served;
