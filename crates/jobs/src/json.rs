//! JSON that has been written already. Payloads are made once, by whoever knows their type, and from
//! then on stored, cloned and sent as text: a tree of values costs several times the memory.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value as text. Clones share it; serialising it (with `serde_json`) writes it as it stands.
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Writes a value down.
    ///
    /// # Panics
    /// When the value's own `Serialize` fails or it has a map whose keys are not text: never for types
    /// that derive it.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        let text = serde_json::value::to_raw_value(value)
            .expect("our payloads have text keys and no failing Serialize");
        Self(text.into())
    }

    /// Takes text that claims to be JSON, such as a column of a database.
    pub fn from_text(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(|text| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads it back, however deep it is nested (whoever wrote it has bounded that).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(self.as_str());
        reader.disable_recursion_limit();
        T::deserialize(&mut reader)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Json;

    #[test]
    fn is_embedded_as_it_was_written() {
        let inner = Json::of(&json!({"b": 1, "a": [0.1, null]}));
        assert_eq!(
            Json::of(&vec![inner]).as_str(),
            r#"[{"b":1,"a":[0.1,null]}]"#
        );
    }

    #[test]
    fn reads_back_what_is_nested_deeper_than_serde_jsons_own_limit() {
        let deep = "[".repeat(500) + &"]".repeat(500);
        let json = Json::from_text(deep.clone()).unwrap();
        assert_eq!(json.read::<Value>().unwrap().to_string(), deep);
    }

    #[test]
    fn refuses_what_is_no_json() {
        assert!(Json::from_text("{".to_owned()).is_err());
    }
}
