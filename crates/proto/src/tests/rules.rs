//! What the sources of the messages may not contain, because it breaks in bincode, silently.

use std::{fs, path::PathBuf};

fn source(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The files in which the types on the wire are.
fn sources() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/message");
    let messages = fs::read_dir(folder)
        .unwrap()
        .map(|entry| format!("message/{}", entry.unwrap().file_name().display()))
        .filter(|path| path != "message/samples.rs");
    let parts = ["message.rs", "ids.rs", "text.rs", "time.rs", "version.rs", "code.rs"];
    parts
        .map(String::from)
        .into_iter()
        .chain(messages)
        .map(|path| (path.clone(), source(&path)))
        .collect()
}

/// What stands between `#[serde(` and `)]`, wherever that is.
fn serde_attributes(source: &str) -> impl Iterator<Item = String> {
    let attributes = source.split("serde(").skip(1);
    attributes.map(|rest| rest.split_once(")]").unwrap().0.split_whitespace().collect())
}

const HARMLESS: [&str; 4] = [
    "deny_unknown_fields",
    r#"deserialize_with="required""#,
    r#"rename_all="snake_case""#,
    "transparent",
];

fn forbidden(source: &str) -> Vec<String> {
    let attributes = serde_attributes(source)
        .flat_map(|list| list.split(',').map(String::from).collect::<Vec<_>>())
        .filter(|attribute| !HARMLESS.contains(&attribute.as_str()));
    attributes.collect()
}

#[test]
fn no_serde_attribute_that_bincode_cannot_follow_is_used() {
    for (path, source) in sources() {
        assert_eq!(forbidden(&source), [] as [String; 0], "{path}");
        assert!(!source.contains("serde_json::Value"), "{path}: it has no shape of its own");
    }
    for bad in
        ["tag = \"t\"", "untagged", "flatten", "skip_serializing_if = \"f\"", "default", "skip"]
    {
        assert_eq!(forbidden(&format!("#[serde({bad})]")).len(), 1, "the check sees {bad}");
        assert_eq!(
            forbidden(&format!("#[cfg_attr(a, serde(\n  transparent,\n  {bad}\n))]")).len(),
            1
        );
    }
}

#[test]
fn no_field_has_a_type_without_one_fixed_encoding() {
    let forbidden = [
        "usize", "isize", "f32", "f64", "char", "HashMap", "BTreeMap", "Box<", "bool", "()", "u128",
    ];
    for (path, source) in sources().into_iter().filter(|(path, _)| path.starts_with("message/")) {
        for line in source.lines().map(str::trim).filter(|line| line.starts_with("pub ")) {
            let Some((_, field)) = line.split_once(": ") else { continue };
            for name in forbidden {
                assert!(!field.contains(name), "{path}: {line}");
            }
        }
    }
}

#[test]
fn only_one_file_names_bincode() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).unwrap().contains("bincode::") {
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                assert!(path == "wire.rs" || path == "tests/rules.rs", "{path}");
            }
        }
    }
}

#[test]
fn every_body_refuses_unknown_fields() {
    for (path, source) in sources().into_iter().filter(|(path, _)| path.starts_with("message/")) {
        let structs = source.matches("pub struct ").count()
            - source.matches("pub struct WaitSeconds(").count();
        assert_eq!(source.matches("deny_unknown_fields").count(), structs, "{path}");
        let options = source.matches(": Option<").count();
        assert_eq!(source.matches(r#"deserialize_with = "required""#).count(), options, "{path}");
    }
}
