//! What is in the image, as a bill of materials in CycloneDX's JSON: the program with the crates
//! that are linked into it, and the files that it reads.
//!
//! The crates are listed in `sbom/crates.tsv`, one per line: name, version, SHA-256 of its package,
//! licence, and what it depends on. A test of the command line holds that file to what Cargo says,
//! and writes it anew. No time and nothing random goes in: the same package has the same bill.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::plan::Plan;

/// The path of the document in the package.
pub(crate) const FILE: &str = "sbom.cdx.json";

const CRATES: &str = include_str!("sbom/crates.tsv");

/// The program's own crate, at the root of the others.
const PROGRAM: &str = "flowmill";

/// The document.
pub(crate) fn document(plan: &Plan<'_>) -> String {
    let crates: Vec<Crate> = CRATES.lines().filter_map(Crate::read).collect();
    let files = files(plan);
    let program = crates.iter().find(|known| known.name == PROGRAM);
    let in_image: Vec<&str> = program
        .map(|program| program.id.as_str())
        .into_iter()
        .chain(files.iter().map(|(path, _)| *path))
        .collect();

    let mut components: Vec<Value> = crates.iter().map(Crate::component).collect();
    components.extend(files.iter().map(|(path, text)| file(path, text)));
    let mut dependencies = vec![json!({ "ref": IMAGE, "dependsOn": in_image })];
    dependencies.extend(
        crates
            .iter()
            .map(|known| json!({ "ref": known.id, "dependsOn": known.dependencies })),
    );
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": { "components": [
                { "type": "application", "name": PROGRAM, "version": plan.version },
            ] },
            "component": {
                "type": "container",
                "bom-ref": IMAGE,
                "name": plan.name.as_str(),
                "version": plan.tag(),
                "description": format!("The workflow {} as an HTTP API", plan.workflow.name),
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    document["serialNumber"] = serial_number(&document).into();
    format!("{document:#}\n")
}

/// The name of the image within the document.
const IMAGE: &str = "image";

/// The files that are copied into the image beside the program.
fn files<'p>(plan: &'p Plan<'_>) -> Vec<(&'static str, &'p str)> {
    let mut files = vec![(plan.workflow_file(), plan.source)];
    files.extend(plan.settings.map(|text| ("flowmill.toml", text)));
    let attached = plan.attached.iter();
    files.extend(attached.map(|file| (file.purpose.path(), file.text.as_str())));
    files
}

fn file(path: &str, text: &str) -> Value {
    json!({
        "type": "file",
        "bom-ref": path,
        "name": path,
        "hashes": [{ "alg": "SHA-256", "content": format!("{:x}", Sha256::digest(text)) }],
    })
}

/// A crate that is linked into the program.
struct Crate {
    /// Its name within the document.
    id: String,
    name: &'static str,
    version: &'static str,
    /// The checksum of a crate from crates.io; our own crates have none.
    checksum: Option<&'static str>,
    licence: &'static str,
    /// The ids of the crates that it depends on.
    dependencies: Vec<String>,
}

impl Crate {
    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (name, version) = (fields.next()?, fields.next()?);
        let checksum = fields.next().filter(|checksum| *checksum != "-");
        Some(Self {
            id: format!("{name}@{version}"),
            name,
            version,
            checksum,
            licence: fields.next()?,
            dependencies: fields
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    }

    fn component(&self) -> Value {
        let kind = if self.name == PROGRAM {
            "application"
        } else {
            "library"
        };
        let mut component = json!({
            "type": kind,
            "bom-ref": self.id,
            "name": self.name,
            "version": self.version,
            "licenses": [{ "expression": self.licence }],
        });
        if let Some(checksum) = self.checksum {
            // A plus stands for a blank in some readers of such addresses.
            let version = self.version.replace('+', "%2B");
            component["purl"] = format!("pkg:cargo/{}@{version}", self.name).into();
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    }
}

/// A serial number that follows from the contents, in the form of a UUID of version 8.
fn serial_number(document: &Value) -> String {
    let mut bytes = Sha256::digest(document.to_string());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = format!("{bytes:x}");
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..32],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_and_what_it_depends_on_is_there() {
        let lines = CRATES.lines().count();
        let crates: Vec<Crate> = CRATES.lines().filter_map(Crate::read).collect();
        assert_eq!(crates.len(), lines);
        assert!(crates.iter().any(|known| known.name == PROGRAM));
        for known in &crates {
            assert!(!known.licence.is_empty(), "{}", known.id);
            for id in &known.dependencies {
                assert!(
                    crates.iter().any(|other| other.id == *id),
                    "{}: {id}",
                    known.id
                );
            }
        }
    }
}
