//! Tries the inputs that fuzzing has kept, as part of the normal suite.

use std::fs;
use std::path::Path;

/// Calls a fuzz target's function with each of its kept inputs, in order. A panic names the input's
/// file.
///
/// # Panics
/// When there is no input, or none can be read.
pub fn replay(target: &str, try_one: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let listed = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut files: Vec<_> = listed
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        let input = fs::read(&file).expect("the file can be read");
        let trying = std::panic::AssertUnwindSafe(|| try_one(&input));
        assert!(
            std::panic::catch_unwind(trying).is_ok(),
            "{target}: {}",
            file.display()
        );
    }
}
