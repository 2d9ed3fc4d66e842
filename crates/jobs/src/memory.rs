//! The store in memory: for tests, `run`, and servers that need no durability.
