//! Takes out of Swagger UI's archive the two files that the page of the reference loads, and compresses
//! them: the whole archive would be a seventh of the program.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells a build script by a variable where its output goes"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        let end = format!("/dist/{name}");
        let path = archive
            .file_names()
            .filter_map(Result::ok)
            .find(|path| path.ends_with(&end))
            .map(String::from);
        let path = path.ok_or_else(|| format!("{name} is not in the archive"))?;
        let to = File::create(Path::new(&out).join(format!("{name}.gz")))?;
        let mut to = GzEncoder::new(to, Compression::best());
        io::copy(&mut archive.by_name(&path)?, &mut to)?;
        to.finish()?;
    }
    Ok(())
}
