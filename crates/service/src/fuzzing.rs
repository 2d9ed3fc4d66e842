//! Lists of API keys, given any bytes.

#![expect(clippy::missing_panics_doc, reason = "a panic is a find")]

use crate::access::ListedKeys;

/// Any text is a list of keys or is refused, and a refusal holds nothing that could be a secret.
pub fn key_list(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<ListedKeys>() {
        Ok(keys) => {
            for (key, entry) in keys.iter().zip(ListedKeys::entries(text)) {
                let mut fields = entry.split(':');
                let whole = fields.next().unwrap_or_default();
                let secret = whole.splitn(3, '_').last().unwrap_or_default();
                // Ids and names of workflows are shown, whatever somebody calls them.
                if fields.nth(1).is_none() && whole.matches(secret).count() == 1 {
                    assert!(!format!("{key:?}").contains(secret), "{key:?}");
                }
            }
        }
        Err(unfit) => {
            let said = unfit.to_string();
            // A run of so many of these characters is no word of a sentence; ids are shorter.
            let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let longest = said
                .as_bytes()
                .split(|byte| !is_secret(*byte))
                .map(<[u8]>::len);
            assert!(longest.max().unwrap_or_default() <= 64, "{said}");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn kept_inputs_still_pass() {
        testing::corpus::replay("key_list", super::key_list);
    }

    #[test]
    fn lists_of_keys_take_linear_work() {
        let secret = "0123456789abcdef0123456789abcdef";
        testing::work::grows_linearly(
            "key_list",
            |times| {
                let keys = (0..times).map(|number| format!("fm_k{number}_{secret}:run+read:a+b"));
                keys.collect::<Vec<_>>().join(",")
            },
            |text| {
                text.parse::<super::ListedKeys>()
                    .expect("a list")
                    .iter()
                    .count()
            },
        );
    }
}
