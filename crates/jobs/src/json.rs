//! JSON payloads. They are made once, by whoever knows their type, and from then on stored, cloned
//! and sent as text, since a tree of values can cost several times the memory; or kept as a small
//! value that is only written if somebody asks for it, as hardly anybody does for most events of a
//! run.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value. Clones share it; serialising it (with `serde_json`) writes it as it stands.
#[derive(Clone)]
pub struct Json(Form);

#[derive(Clone)]
enum Form {
    Written(Arc<RawValue>),
    Unwritten(Arc<dyn Payload>),
}

/// A value that becomes JSON when somebody asks for its text.
pub trait Payload: Send + Sync {
    /// Appends its text, the same each time.
    fn write_to(&self, bytes: &mut Vec<u8>);
}

impl Json {
    /// Writes a value down.
    ///
    /// # Panics
    /// When the value's own `Serialize` fails or it has a map whose keys are not text: never for
    /// types that derive it.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        let text = serde_json::value::to_raw_value(value).expect(WRITES);
        Self(Form::Written(text.into()))
    }

    /// Keeps a value that is written each time its text is asked for: where nobody is likely to.
    pub fn later(value: impl Payload + 'static) -> Self {
        Self(Form::Unwritten(Arc::new(value)))
    }

    /// Takes text that claims to be JSON, such as a column of a database.
    pub fn from_text(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(|text| Self(Form::Written(text.into())))
    }

    /// The text.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Written(text) => text.get().into(),
            Form::Unwritten(value) => written(&**value).into(),
        }
    }

    /// Appends the text.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        match &self.0 {
            Form::Written(text) => bytes.extend_from_slice(text.get().as_bytes()),
            Form::Unwritten(value) => value.write_to(bytes),
        }
    }

    /// Reads it back, however deep it is nested (whoever wrote it has bounded that).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let text = self.text();
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader.disable_recursion_limit();
        T::deserialize(&mut reader)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Written(text) => text.serialize(serializer),
            Form::Unwritten(value) => {
                let text = RawValue::from_string(written(&**value)).map_err(S::Error::custom)?;
                text.serialize(serializer)
            }
        }
    }
}

const WRITES: &str = "our payloads have text keys and no failing Serialize";

fn written(value: &dyn Payload) -> String {
    let mut bytes = Vec::new();
    value.write_to(&mut bytes);
    String::from_utf8(bytes).expect("JSON is text")
}

/// The text of a value, for [`Payload::write_to`].
///
/// # Panics
/// As [`Json::of`].
pub fn write_to<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, value).expect(WRITES);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Json, Payload, write_to};

    #[test]
    fn is_embedded_as_it_was_written() {
        let inner = Json::of(&json!({"b": 1, "a": [0.1, null]}));
        assert_eq!(Json::of(&vec![inner]).text(), r#"[{"b":1,"a":[0.1,null]}]"#);
    }

    #[test]
    fn a_value_written_later_is_the_same_json() {
        struct Later(Value);

        impl Payload for Later {
            fn write_to(&self, bytes: &mut Vec<u8>) {
                write_to(&self.0, bytes);
            }
        }

        let value = json!({"b": 1, "a": [0.1, null]});
        let (now, later) = (Json::of(&value), Json::later(Later(value.clone())));
        assert_eq!(later, now);
        assert_eq!(later.read::<Value>().unwrap(), value);
        assert_eq!(Json::of(&[&later]), Json::of(&[&now]));
        let mut bytes = b"[".to_vec();
        later.write_to(&mut bytes);
        assert_eq!(bytes, format!("[{}", now.text()).into_bytes());
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
