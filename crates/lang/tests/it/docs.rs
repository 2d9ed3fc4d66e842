//! The table of keys in the documentation is the one that files are checked against.

use std::fmt::Write;
use std::path::Path;

/// Rewrites the page instead of comparing it.
const UPDATE: &str = "UPDATE_DOCS";

fn page() -> String {
    let mut page = String::from(
        "# Every key of a workflow file\n\n\
         Made from the tables that files are checked against; what the keys mean together is in [language.md](language.md).\n\
         `*` stands for an item of a list or a name of your own. An inner field of an object \
         (`schema.*`) takes the keys of `state.fields.*`.\n\n\
         | key | value | default | |\n| --- | --- | --- | --- |\n",
    );
    for key in lang::schema::keys() {
        if key.path.contains(".schema.*") {
            continue;
        }
        let also: String = key.aliases.iter().fold(String::new(), |mut also, alias| {
            let _ = write!(also, ", `{alias}`");
            also
        });
        let default = match key.default {
            Some(default) => format!("`{}`", default.trim_matches('"')),
            None if key.required => "required".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            page,
            "| `{}`{also} | {} | {default} | {} |",
            key.path, key.kind, key.doc
        );
    }
    page
}

#[test]
fn the_page_of_keys_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language-keys.md");
    let expected = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/language-keys.md is not what the code says; rewrite it with {UPDATE}=1"
    );
}
