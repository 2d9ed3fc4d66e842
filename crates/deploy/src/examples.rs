//! Calls of the API that work when pasted.

use serde_json::Value;

use crate::plan::Access;
use crate::shell;

/// A request on one command line, with the key that the shell's `FLOWMILL_API_KEY` holds where one
/// is wanted.
pub fn curl(url: &str, path: &str, body: &Value, access: Access) -> String {
    let key = match access {
        Access::Keys => " -H \"Authorization: Bearer $FLOWMILL_API_KEY\"",
        Access::Open => "",
    };
    format!(
        "curl -X POST {}{key} -H 'content-type: application/json' -d {}",
        shell::word(&format!("{url}{path}")),
        shell::word(&body.to_string())
    )
}

/// The same in Python, with its standard library alone.
pub(crate) fn python(url: &str, inputs: &Value, access: Access) -> String {
    let (import, key) = match access {
        Access::Keys => (
            "import os\n",
            ", \"Authorization\": \"Bearer \" + os.environ[\"FLOWMILL_API_KEY\"]",
        ),
        Access::Open => ("", ""),
    };
    format!(
        "import json\n\
         {import}from urllib.request import Request, urlopen\n\
         \n\
         inputs = {}\n\
         request = Request(\n    {},\n    data=json.dumps(inputs).encode(),\n    headers={{\"Content-Type\": \"application/json\"{key}}},\n)\n\
         with urlopen(request) as response:\n    print(json.load(response)[\"outputs\"])\n",
        literal(inputs),
        literal(&Value::from(format!("{url}/run"))),
    )
}

/// A JSON value in Python's notation. JSON's escapes of texts are Python's.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), literal(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        assert_eq!(
            literal(&json!({"a": [true, null, 1.5], "b \"c\"": "it's\n"})),
            r#"{"a": [True, None, 1.5], "b \"c\"": "it's\n"}"#
        );
    }

    #[test]
    fn a_body_survives_the_shell() {
        assert_eq!(
            curl(
                "http://127.0.0.1:8000",
                "/run",
                &json!({"name": "O'Neill"}),
                Access::Open
            ),
            r#"curl -X POST http://127.0.0.1:8000/run -H 'content-type: application/json' -d '{"name":"O'\''Neill"}'"#
        );
    }
}
