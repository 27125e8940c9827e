use serde_json::Value;

use super::*;

fn parsed(side: Side) -> Value {
    serde_json::from_str(&document(side)).unwrap()
}

#[test]
fn the_document_is_openapi_3_1_and_every_reference_in_it_leads_somewhere() {
    for side in [Side::Edge, Side::Origin] {
        let document = parsed(side);
        assert_eq!(document["openapi"], "3.1.0");
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.push(reference.clone());
            }
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn the_request_of_the_document_has_the_fields_of_a_canonical_request_and_no_others() {
    let request = CaptionRequest::from_json(br#"{"content_description": "Sunset"}"#).unwrap().validate().unwrap();
    let canonical: Value = serde_json::from_str(&request.to_json()).unwrap();
    let document = parsed(Side::Edge);
    let schema = &document["components"]["schemas"]["CaptionRequest"];
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&schema["properties"]), fields(&canonical));
    assert_eq!(schema["additionalProperties"], false);
    let query = document["paths"]["/api/v14/generate"]["get"]["parameters"].as_array().unwrap();
    let in_query = query.iter().filter(|parameter| parameter["in"] == "query").count();
    assert_eq!(in_query, fields(&canonical).len());
}

#[test]
fn limits_are_those_of_validation() {
    let document = parsed(Side::Edge);
    let field = |name: &str| document["components"]["schemas"]["CaptionRequest"]["properties"][name].clone();
    for (name, words) in [("content_description", "maxLength"), ("brand_voice", "maxLength")] {
        let chars = usize::try_from(field(name)[words].as_u64().unwrap()).unwrap();
        let mut body = serde_json::json!({ "content_description": "a" });
        body[name] = "a".repeat(chars).into();
        assert!(CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().is_ok(), "{name}");
        body[name] = "a".repeat(chars + 1).into();
        assert!(CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().is_err(), "{name}");
    }
    for name in ["hashtag_count", "variants", "max_length", "seed"] {
        for (limit, beyond) in [("minimum", -1), ("maximum", 1)] {
            let limit = field(name)[limit].as_i64().unwrap();
            let valid = |number: i64| {
                let body = serde_json::json!({ "content_description": "a", name: number });
                CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().is_ok()
            };
            assert!(valid(limit) && !valid(limit + beyond), "{name}");
        }
    }
}

#[test]
fn every_problem_of_a_side_is_described_with_an_example() {
    use strum::VariantArray;

    for (side, absent) in [(Side::Edge, 2), (Side::Origin, 1)] {
        let document = parsed(side).to_string();
        let described = |code: &crate::problem::ProblemCode| {
            document.contains(&format!("urn:lede:problem:{}\"", code.as_str()))
        };
        let codes = crate::problem::ProblemCode::VARIANTS;
        assert_eq!(codes.iter().filter(|code| !described(code)).count(), absent, "{side:?}");
    }
}
