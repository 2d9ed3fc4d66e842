//! flowmill's use cases, without HTTP: which workflows are loaded, submitting, waiting, watching,
//! cancelling, draining. Joins the engine, the models and the job store.

pub mod catalog;
pub mod runs;
