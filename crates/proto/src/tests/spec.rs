//! `docs/protocol.md` says what the code does: its tables are made from the code, between markers
//! such as `<!-- table: kinds -->` and `<!-- end -->`.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use crate::{
    code::{Code, Why},
    limits,
    message::{Direction, KINDS, Kind},
};

use super::golden::committed;

const UPDATE: &str = "UPDATE=1 cargo test -p helpline-proto --all-features spec";

fn source(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Something declared in a source, with what its doc comment says.
struct Item {
    doc: String,
    /// The line itself.
    line: String,
}

/// The documented lines of a source.
fn documented(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut doc = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            // Only the first paragraph, which says what it is.
            if !doc.ends_with('\n') {
                doc += if doc.is_empty() { "" } else { " " };
                doc += if more.trim().is_empty() { "\n" } else { more.trim() };
            }
        } else if !doc.is_empty() && !line.starts_with("#[") {
            items.push(Item { doc: std::mem::take(&mut doc).trim().into(), line: line.into() });
        }
    }
    items
}

/// `LineName` as `line_name`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// The Rust name of each message, beside its row in the table.
fn types() -> Vec<(String, Kind)> {
    let source = source("message.rs");
    let rows = source.lines().filter_map(|line| {
        let mut words = line.trim().split(' ');
        let kind = Kind::numbered(words.next()?.parse().ok()?)?;
        Some((words.next()?.to_owned(), kind))
    });
    let types: Vec<_> = rows.collect();
    assert_eq!(types.len(), KINDS.len());
    types
}

/// A doc comment in the words of the specification.
fn said(doc: &str) -> String {
    let mut out = String::new();
    let mut rest = doc;
    // Links keep what they show.
    while let Some((before, link)) = rest.split_once("[`") {
        let (shown, after) = link.split_once("`]").unwrap();
        let after = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').unwrap().1,
            None => after,
        };
        write!(out, "{before}`{}`", shown.rsplit("::").next().unwrap()).unwrap();
        rest = after;
    }
    out += rest;
    for (name, kind) in types() {
        out = out.replace(&format!("`{name}`"), &format!("`{}`", kind.name));
    }
    out
}

fn type_name(rust: &str) -> String {
    match rust.split_once('<').map(|(outer, inner)| (outer, inner.trim_end_matches('>'))) {
        Some(("Option", inner)) => format!("option of {}", type_name(inner)),
        Some(("Vec", inner)) => format!("list of {}", type_name(inner)),
        Some(_) => panic!("{rust}"),
        None => format!("`{}`", snake(rust)),
    }
}

/// The fields of a struct, as a table.
fn fields(name: &str) -> (String, String) {
    let files =
        ["both", "caller", "handshake", "operator"].map(|file| format!("message/{file}.rs"));
    let mut out = String::new();
    for file in files.into_iter().chain(["version.rs".into()]) {
        let items = documented(&source(&file));
        let begin = |item: &&Item| {
            item.line == format!("pub struct {name} {{")
                || item.line == format!("pub struct {name} {{}}")
        };
        let Some(at) = items.iter().position(|item| begin(&item)) else { continue };
        let fields = items[at + 1..].iter().map_while(|item| {
            let (name, rust) = item.line.strip_prefix("pub ")?.split_once(": ")?;
            Some((name, rust.strip_suffix(',')?, &item.doc))
        });
        for (name, rust, doc) in fields {
            writeln!(out, "| `{name}` | {} | {} |", type_name(rust), said(doc)).unwrap();
        }
        if !out.is_empty() {
            out = format!("| field | type | |\n|---|---|---|\n{out}");
        }
        return (said(&items[at].doc), out);
    }
    panic!("no struct {name}");
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "either way",
        Direction::FromCaller => "client to server",
        Direction::FromOperator => "operator to server",
        Direction::ToCaller => "server to client",
        Direction::ToOperator => "server to operator",
    }
}

fn kinds() -> String {
    let mut out = String::from("| number | name | direction | since |\n|---|---|---|---|\n");
    for kind in KINDS {
        let Kind { number, name, since, .. } = kind;
        writeln!(out, "| {number} | `{name}` | {} | {} |", direction(kind.direction), since.0)
            .unwrap();
    }
    out
}

fn messages(of: Direction) -> String {
    let mut out = String::new();
    for (rust, kind) in types().into_iter().filter(|(_, kind)| kind.direction == of) {
        let (doc, fields) = fields(&rust);
        let fields = if fields.is_empty() { "No fields.\n".into() } else { fields };
        writeln!(out, "#### {} `{}`\n\n{doc}\n\n{fields}", kind.number, kind.name).unwrap();
    }
    out.trim_end().to_owned() + "\n"
}

fn parts() -> String {
    let mut out = String::new();
    for name in ["Versions", "Limits", "Waiter", "Talk", "Shown", "Listed"] {
        let (doc, fields) = fields(name);
        writeln!(out, "#### `{}`\n\n{doc}\n\n{fields}", snake(name)).unwrap();
    }
    out.trim_end().to_owned() + "\n"
}

fn enums() -> String {
    let items = documented(&source("ids.rs"));
    let mut out = String::from("| enum | tag | in JSON | |\n|---|---|---|---|\n");
    for name in ["Side", "By", "Answering", "Uses", "Resumable"] {
        let begin = format!("pub enum {name} {{");
        let at = items.iter().position(|item| item.line == begin).unwrap();
        let members = items[at + 1..].iter().map_while(|item| {
            let member = item.line.strip_suffix(',')?;
            member.chars().all(char::is_alphanumeric).then_some((snake(member), &item.doc))
        });
        for (tag, (member, doc)) in members.enumerate() {
            writeln!(out, "| `{}` | {tag} | `\"{member}\"` | {} |", snake(name), said(doc))
                .unwrap();
        }
    }
    out
}

fn open_set(known: impl Iterator<Item = (u16, &'static str)>) -> String {
    let items = documented(&source("code.rs"));
    let mut out = String::from("| number | in JSON | |\n|---|---|---|\n");
    for (number, name) in known {
        let end = format!("= {number}, \"{name}\";");
        let item = items.iter().find(|item| item.line.ends_with(&end)).unwrap();
        writeln!(out, "| {number} | `\"{name}\"` | {} |", said(&item.doc)).unwrap();
    }
    out
}

fn numbers() -> String {
    macro_rules! values {
        ($($name:ident)*) => { [$((stringify!($name), Value::shown(&limits::$name))),*] };
    }
    let values = values! {
        TEXT NAME DETAIL AGENT SECRET FRAME_BEFORE FRAME JSON HANDSHAKE REST_OF_FRAME KEEPALIVE
        SILENCE OUTBOX NO_PROGRESS LINGER END_SEEN UNANSWERED UNSAID SAYS_A_SECOND SAYS_AT_ONCE
        TYPING_EVERY BOARD_FIRST BOARD_TALKING BOARD_EVERY PAGE WAITING_GRACE CALL_GRACE
        OPERATOR_GRACE PASSED_OVER LET_GO LET_GO_BY_ITSELF BAN_LONGEST RESUMED_CALLS RECONNECT_SOONEST
        RECONNECT_LATEST RECONNECT_TRY
    };
    let items = documented(&source("limits.rs"));
    let named = |item: &&Item, name: &str| item.line.starts_with(&format!("pub const {name}:"));
    let mut out = String::from("| name | value | |\n|---|---|---|\n");
    for (name, value) in &values {
        let item = items.iter().find(|item| named(item, name)).unwrap();
        writeln!(out, "| `{name}` | {value} | {} |", said(&item.doc)).unwrap();
    }
    assert_eq!(items.len(), values.len(), "a limit is missing in this test");
    out
}

trait Value {
    fn shown(&self) -> String;
}

impl Value for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for std::time::Duration {
    fn shown(&self) -> String {
        match (self.as_secs(), self.subsec_millis()) {
            (0, millis) => format!("{millis} ms"),
            (seconds, 0) => format!("{seconds} s"),
            _ => panic!("{self:?}"),
        }
    }
}

/// The first golden of a kind, bytes and JSON.
fn golden(name: &str) -> String {
    let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
    let golden = committed(*kind).remove(0);
    let rows = golden
        .frame
        .chunks(16)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "));
    let hex = rows.collect::<Vec<_>>().join("\n");
    format!("```text\n{hex}\n```\n```json\n{}\n```\n", golden.json)
}

fn table(name: &str) -> String {
    match name {
        "kinds" => kinds(),
        "messages both" => messages(Direction::Both),
        "messages from_caller" => messages(Direction::FromCaller),
        "messages from_operator" => messages(Direction::FromOperator),
        "messages to_caller" => messages(Direction::ToCaller),
        "messages to_operator" => messages(Direction::ToOperator),
        "parts" => parts(),
        "enums" => enums(),
        "codes" => open_set(Code::KNOWN.iter().map(|(code, name)| (code.0, *name))),
        "whys" => open_set(Why::KNOWN.iter().map(|(why, name)| (why.0, *name))),
        "limits" => numbers(),
        other => match other.strip_prefix("golden ") {
            Some(kind) => golden(kind),
            None => panic!("no table {other:?}"),
        },
    }
}

fn specification() -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    (path, text)
}

#[test]
fn the_specification_says_what_the_code_does() {
    let (path, text) = specification();
    let mut parts = text.split("<!-- table: ");
    let mut fresh = parts.next().unwrap().to_owned();
    let mut tables = BTreeSet::new();
    for part in parts {
        let (name, rest) = part.split_once(" -->").unwrap();
        let (_, behind) = rest.split_once("<!-- end -->").expect("an end to each table");
        let table = table(name);
        write!(fresh, "<!-- table: {name} -->\n{table}<!-- end -->{behind}").unwrap();
        tables.insert(name);
    }
    for needed in ["kinds", "messages to_operator", "enums", "codes", "whys", "limits"] {
        assert!(tables.contains(needed), "the specification has no table {needed:?}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, fresh).unwrap();
    } else {
        assert!(
            fresh == text,
            "docs/protocol.md is behind the code; to renew its tables: {UPDATE}"
        );
    }
}

#[test]
fn the_specification_explains_every_type_it_uses() {
    let (_, text) = specification();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let Some(cell) = line.split(" | ").nth(1).filter(|cell| cell.ends_with('`')) else {
            continue;
        };
        let name = cell.rsplit(' ').next().unwrap();
        let explained = [format!("| {name} |"), format!("#### {name}\n")];
        let by_code = ["code", "why"].map(|name| format!("`{name}`"));
        assert!(
            explained.iter().any(|place| text.contains(place))
                || by_code.contains(&name.to_owned()),
            "{name} in {line}"
        );
    }
}

#[test]
fn the_registry_only_grows() {
    // A row that changes or goes is a number used twice: the difference shows in review.
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("registry", kinds()));
}
