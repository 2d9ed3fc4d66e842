//! The `Dockerfile`, what it lets into the image, and the tag of the image that follows from it.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::plan::{DATA, PORT, PROGRAM, Plan, USER};
use crate::render::{Template, render};

/// The files of the package that the image has in its folder `/app`, besides the folder `files`.
pub(crate) fn in_app(plan: &Plan<'_>) -> Vec<&'static str> {
    let mut paths = vec![PROGRAM, plan.workflow_file()];
    paths.extend(plan.settings.map(|_| "flowmill.toml"));
    paths
}

/// The text of the `Dockerfile`. A function of its own, because the image's tag is made from it.
pub(crate) fn dockerfile(plan: &Plan<'_>) -> String {
    let mut in_app = in_app(plan);
    in_app.push("/app/");
    let context = json!({
        "title": plan.workflow.name,
        "version": plan.workflow.version,
        "description": plan.workflow.description,
        "definition": plan.workflow.definition_hash,
        "flowmill": plan.version,
        "deployment": plan.name.as_str(),
        "in_app": in_app,
        "has_files": !plan.attached.is_empty(),
        "has_data": plan.has_volume(),
        "data_to": [DATA_FOLDER, format!("{DATA}/")],
        "data": [DATA],
        "user": USER,
        "port": PORT,
        "health": [format!("/app/{PROGRAM}"), "health".to_owned(), "--port".to_owned(), PORT.to_string()],
        "entry": [format!("/app/{PROGRAM}")],
        "arguments": plan.arguments(),
    });
    render(Template::Dockerfile, &context)
}

/// The empty folder that gives the volume its owner.
const DATA_FOLDER: &str = "data/";

/// The text of `.dockerignore`: only what the image is made of reaches the engine, so no key can.
pub(crate) fn dockerignore(plan: &Plan<'_>) -> String {
    let mut text = include_str!("templates/dockerignore").to_owned();
    let mut allow = |path: &str| {
        text.push('!');
        text.push_str(path);
        text.push('\n');
    };
    in_app(plan).into_iter().for_each(&mut allow);
    if !plan.attached.is_empty() {
        allow("files");
    }
    if plan.has_volume() {
        allow("data");
        text.push_str("data/*\n");
    }
    text
}

impl Plan<'_> {
    /// The name of the image, with the registry where there is one.
    pub fn image(&self) -> String {
        let (name, tag) = (&self.name, self.tag());
        match &self.registry {
            Some(registry) => format!("{}/{name}:{tag}", registry.trim_end_matches('/')),
            None => format!("{name}:{tag}"),
        }
    }

    /// The tag of the image: a hash of everything in it, so that images with different contents
    /// have different tags. The program is represented by its version.
    pub(crate) fn tag(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        };
        add(self.version.as_bytes());
        add(self.source.as_bytes());
        add(self.settings.unwrap_or_default().as_bytes());
        for attached in &self.attached {
            add(attached.text.as_bytes());
        }
        add(dockerfile(self).as_bytes());
        let mut tag = format!("{:x}", digest.finalize());
        tag.truncate(12);
        tag
    }
}
