//! Reading the body of an action: a JSON object whose fields are named when they are at fault.

use lede_shared::problem::{FieldError, FieldErrorCode, Problem, ProblemCode};
use serde_json::{Map, Value};

/// A body that is an object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let malformed = |_| Problem::new(ProblemCode::MalformedRequest, "the body is not JSON");
    match serde_json::from_slice(body).map_err(malformed)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(fault("", FieldErrorCode::WrongType, "must be an object")),
    }
}

/// A field that holds a word; `words` says which there are.
pub(super) fn word<'a>(fields: &'a Map<String, Value>, name: &str, words: &str) -> Result<&'a str, Problem> {
    match fields.get(name) {
        Some(Value::String(word)) => Ok(word),
        Some(_) => Err(fault(&format!("/{name}"), FieldErrorCode::WrongType, words)),
        None => Err(fault(&format!("/{name}"), FieldErrorCode::Missing, words)),
    }
}

/// There are no other fields than these.
pub(super) fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Problem> {
    let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
    // A name is the caller's text: `~` and `/` have a meaning in a pointer.
    let pointer = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let errors: Vec<_> = unknown
        .map(|name| FieldError {
            pointer: pointer(name),
            code: FieldErrorCode::UnknownField,
            detail: "there is no such field for this action".to_owned(),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(errors)) }
}

/// One fault of a field.
pub(super) fn fault(pointer: &str, code: FieldErrorCode, detail: &str) -> Problem {
    Problem::invalid_fields(vec![FieldError { pointer: pointer.to_owned(), code, detail: detail.to_owned() }])
}
