//! The same messages as JSON: what reads back, and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    code::Code,
    error::DecodeError,
    json::{self, Reader},
    limits,
    message::{KINDS, Message, Ref, Say, samples},
    text::Text,
};

use super::{
    any, cases, frames,
    golden::{committed, reader},
};

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_message_reads_back_as_json(message in any::message(), reference: u32) {
        let text = json::encode(&message, Ref(reference)).unwrap();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(json::decode(&text, reader(message.kind())), Ok((Ref(reference), message)));
    }
}

/// Every variant of `value` that has one object changed by `change`, which gets the object and one
/// of its fields' names (or a new one).
fn variants(
    value: &Value,
    change: &dyn Fn(&mut serde_json::Map<String, Value>, &str),
) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for name in fields.keys() {
                let mut changed = fields.clone();
                change(&mut changed, name);
                found.push(Value::Object(changed));
            }
            for (name, field) in fields {
                for variant in variants(field, change) {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), variant);
                    found.push(Value::Object(changed));
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for variant in variants(item, change) {
                    let mut changed = items.clone();
                    changed[at] = variant;
                    found.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    found
}

#[test]
fn a_missing_field_is_refused_in_every_kind() {
    let mut tried = 0;
    for kind in KINDS {
        for golden in committed(*kind) {
            let value: Value = serde_json::from_str(&golden.json).unwrap();
            for variant in variants(&value, &|fields, name| drop(fields.remove(name))) {
                let text = variant.to_string();
                assert!(json::decode(&text, reader(*kind)).is_err(), "{text}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "only {tried} were tried");
}

#[test]
fn an_unknown_field_is_refused_in_every_kind() {
    for kind in KINDS {
        for golden in committed(*kind) {
            let mut value: Value = serde_json::from_str(&golden.json).unwrap();
            let unknown = |fields: &mut serde_json::Map<String, Value>, _: &str| {
                fields.insert("unknown".into(), Value::Null);
            };
            for variant in variants(&value, &unknown) {
                let text = variant.to_string();
                assert!(json::decode(&text, reader(*kind)).is_err(), "{text}");
            }
            // `variants` passes by what has no field yet.
            value["body"]["unknown"] = json!(1);
            let refused = json::decode(&value.to_string(), reader(*kind));
            assert!(matches!(refused, Err(DecodeError::Body { .. })), "{refused:?}");
        }
    }
}

#[test]
fn a_field_of_another_type_is_refused_in_every_kind() {
    for kind in KINDS {
        for golden in committed(*kind) {
            let value: Value = serde_json::from_str(&golden.json).unwrap();
            for wrong in [json!(1.5), json!(true), json!(-1e300), json!({"a": 1}), json!("\u{0}")] {
                let wrongly = |fields: &mut serde_json::Map<String, Value>, name: &str| {
                    fields.insert(name.into(), wrong.clone());
                };
                for variant in variants(&value, &wrongly) {
                    // A control character is a fine text, detail, reason and agent.
                    let fine = ["text", "greeting", "detail", "agent", "reason"];
                    let text = variant.to_string();
                    let accepted = json::decode(&text, reader(*kind)).is_ok();
                    let may_be = fine.iter().any(|name| value["body"].get(name).is_some());
                    assert!(!accepted || (may_be && wrong == json!("\u{0}")), "{text}");
                }
            }
        }
    }
}

#[test]
fn lists_are_not_taken_for_objects() {
    for text in [r#"["ping",0,{}]"#, r#"{"kind":"ping","ref":0,"body":[]}"#, "[]", "null", ""] {
        assert!(json::decode(text, Reader::Server).is_err(), "{text}");
    }
    assert!(
        json::decode(" {\"kind\" : \"ping\", \"ref\" : 0, \"body\" : { } }\n", Reader::Server)
            .is_ok()
    );
}

#[test]
fn each_end_reads_only_what_reaches_it() {
    for (kind, reference, message, _) in frames() {
        let text = json::encode(&message, reference).unwrap();
        for (end, reaches) in [
            (Reader::Server, kind.direction.reaches_server()),
            (Reader::Client, kind.direction.reaches_client()),
        ] {
            let read = json::decode(&text, end);
            if reaches {
                assert_eq!(read, Ok((reference, message.clone())));
            } else {
                // `typing` is a name in both directions, with a body each.
                assert!(read.is_err(), "{text}");
            }
        }
    }
}

#[test]
fn what_is_no_message_is_told_by_blame() {
    let code = |text: &str| json::decode(text, Reader::Server).map_err(|error| error.code());
    assert_eq!(code("hello?"), Err(Code::BAD_FRAME));
    assert_eq!(code(r#"{"kind":"fly","ref":0,"body":{}}"#), Err(Code::UNKNOWN_KIND));
    assert_eq!(code(r#"{"kind":"said","ref":0,"body":{}}"#), Err(Code::UNKNOWN_KIND));
    assert_eq!(code(r#"{"kind":"end_seen","ref":0,"body":{"call":"00"}}"#), Err(Code::BAD_BODY));
    assert_eq!(code(&" ".repeat(limits::JSON + 1)), Err(Code::BAD_FRAME));
}

#[test]
fn deep_nesting_is_refused_and_survived() {
    let deep = format!(r#"{{"kind":"ping","ref":0,"body":{}"#, "[".repeat(100_000));
    assert!(json::decode(&deep, Reader::Server).is_err());
    let deep = format!(r#"{{"kind":"ping","ref":0,"body":{{"a":{}}}}}"#, "[".repeat(100_000));
    assert!(json::decode(&deep, Reader::Server).is_err());
}

#[test]
fn the_longest_text_of_control_characters_still_fits() {
    let text = Text::new("\u{1}".repeat(limits::TEXT)).unwrap();
    let say = Message::from(Say { call: samples::CALL, nonce: crate::ids::Nonce(1), text });
    let json = json::encode(&say, Ref::NONE).unwrap();
    assert!(json.len() > 6 * limits::TEXT && json.len() < limits::JSON);
    assert_eq!(json::decode(&json, Reader::Server), Ok((Ref::NONE, say)));
}
