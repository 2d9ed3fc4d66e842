//! Files that are part of the program in compressed form. Browsers take them as they are.

use std::io::Read;
use std::sync::OnceLock;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::read::GzDecoder;
// What `build.rs` takes the files from. It is named here so that the bill of materials lists it.
use utoipa_swagger_ui_vendored as _;

pub(super) static SWAGGER_UI_CSS: Compressed = Compressed::new(include_bytes!(concat!(
    env!("OUT_DIR"),
    "/swagger-ui.css.gz"
)));
pub(super) static SWAGGER_UI_BUNDLE_JS: Compressed = Compressed::new(include_bytes!(concat!(
    env!("OUT_DIR"),
    "/swagger-ui-bundle.js.gz"
)));

/// A compressed file.
#[derive(Debug)]
pub(super) struct Compressed {
    gzip: &'static [u8],
    plain: OnceLock<Vec<u8>>,
}

impl Compressed {
    const fn new(gzip: &'static [u8]) -> Self {
        Self {
            gzip,
            plain: OnceLock::new(),
        }
    }

    /// Its bytes, compressed or as they were. The first client that does not take gzip has it
    /// decompressed.
    pub(super) fn bytes(&'static self, compressed: bool) -> &'static [u8] {
        if compressed {
            return self.gzip;
        }
        self.plain.get_or_init(|| {
            let mut plain = Vec::new();
            GzDecoder::new(self.gzip)
                .read_to_end(&mut plain)
                .expect("`build.rs` has compressed it");
            plain
        })
    }
}

/// Whether a client takes answers in gzip.
pub(super) fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse::<f32>().is_ok_and(|q| q > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_for_those_that_ask_for_it() {
        let check = |value: &str, expected| {
            let value = HeaderValue::from_str(value).expect("a value");
            let request = HeaderMap::from_iter([(ACCEPT_ENCODING, value)]);
            assert_eq!(accepts_gzip(&request), expected, "{request:?}");
        };
        check("gzip, deflate, br, zstd", true);
        check("br;q=1.0, GZip;q=0.2", true);
        check("gzip;q=0, identity", false);
        check("gzip; q=0.000", false);
        check("br", false);
        check("", false);
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn both_forms_are_the_same_file() {
        for (file, begins) in [
            (&SWAGGER_UI_CSS, ".swagger-ui"),
            (&SWAGGER_UI_BUNDLE_JS, "/*!"),
        ] {
            let plain = file.bytes(false);
            assert!(plain.starts_with(begins.as_bytes()));
            assert!(file.bytes(true).len() * 3 < plain.len());
        }
    }
}
