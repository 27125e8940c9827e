//! A schema in a few words.

use serde_json::Value;

use super::page::escape;

/// What may stand there, as HTML: `string, 1 to 2,000`, or a link to the schema that is meant.
pub(super) fn in_words(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let named: Vec<_> = choices.iter().filter(|one| one["type"] != "null").map(in_words).collect();
        return named.join(" or ");
    }
    let kind = kind(schema);
    let limits = limits(schema);
    if limits.is_empty() { kind } else { format!("{kind}, {limits}") }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn kind(schema: &Value) -> String {
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        one => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    match (types.first(), schema.get("items")) {
        (Some(&"array"), Some(items)) => format!("list of {}", in_words(items)),
        (Some(one), _) => escape(one),
        (None, _) => "anything".to_owned(),
    }
}

fn limits(schema: &Value) -> String {
    let pairs = [
        ("minLength", "maxLength", " characters"),
        ("minimum", "maximum", ""),
        ("minItems", "maxItems", " items"),
    ];
    let told = pairs.iter().filter_map(|(least, most, unit)| {
        let (least, most) = (schema[*least].as_u64(), schema[*most].as_u64());
        match (least, most) {
            (Some(least), Some(most)) => Some(format!("{} to {}{unit}", grouped(least), grouped(most))),
            (None, Some(most)) => Some(format!("up to {}{unit}", grouped(most))),
            _ => None,
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// `2,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_told_with_its_limits() {
        let text = json!({ "type": ["string", "null"], "minLength": 1, "maxLength": 2000, "pattern": "x" });
        assert_eq!(in_words(&text), "string, 1 to 2,000 characters");
        let list = json!({ "type": "array", "maxItems": 8, "items": { "type": "integer", "minimum": 0, "maximum": 12_345_678 } });
        assert_eq!(in_words(&list), "list of integer, 0 to 12,345,678, up to 8 items");
        let style = json!({ "oneOf": [{ "$ref": "#/components/schemas/Style" }, { "type": "null" }] });
        assert_eq!(in_words(&style), "<a href=\"#Style\">Style</a>");
    }
}
