//! A workflow's deployment package: what goes into its image, and the files around it.
//!
//! [`plan::Plan`] holds every decision; [`package::Package`] is the files that follow from it, the
//! same bytes for the same plan. Nothing is written here and nothing is asked: no clock, no
//! environment, no disk. Text of a user never reaches a file as it is; `render` writes each value
//! by the rules of the file's format.

mod dockerfile;
pub mod elf;
pub mod examples;
pub mod image;
pub mod manifest;
pub mod name;
pub mod package;
pub mod plan;
mod render;
mod sbom;
pub mod shell;
pub mod variables;
