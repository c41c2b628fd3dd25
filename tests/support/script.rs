//! Scripts of misbehaviour, from `fixtures/catalogue.json`; the README there tells what the steps mean.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// What a scripted server does next on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Accept,
    ReadHead,
    ReadBody,
    /// Bytes, whether they are an answer, garbage, or late.
    Write(Vec<u8>),
    /// Until the gate of that name is opened; without a name until the test is over.
    Stall(Option<String>),
    Fin,
    Rst,
    Close,
    AwaitClose,
}

/// What a server does.
pub(crate) struct Script {
    /// On each connection, in the order in which they are accepted.
    pub(crate) connections: Vec<Vec<Step>>,
    /// Of the kernel's, for each.
    pub(crate) receive_buffer: Option<usize>,
}

/// Reads the fixture of that name.
pub(crate) fn load(name: &str) -> Script {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/catalogue.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()));
    let catalogue: Value = serde_json::from_str(&text).expect(&text);
    let fixture = catalogue.get("servers").and_then(|servers| servers.get(name)).expect(name);
    let connections = fixture.get("connections").and_then(Value::as_array).expect("a fixture has connections");
    let script = |steps: &Value| steps.as_array().expect("a script is a list of steps").iter().map(step).collect();
    let scripts: Vec<Vec<Step>> = connections.iter().map(script).collect();
    assert!(scripts.iter().all(|steps| steps.first() == Some(&Step::Accept)), "{name}: a script begins with accept");
    let receive_buffer = fixture.get("receive_buffer").and_then(Value::as_u64);
    Script { connections: scripts, receive_buffer: receive_buffer.map(|size| size.try_into().expect("a size")) }
}

fn step(value: &Value) -> Step {
    let (word, argument) = match value.as_object().and_then(|map| map.iter().next()) {
        Some((word, argument)) => (word.as_str(), argument),
        None => (value.as_str().unwrap_or_default(), &Value::Null),
    };
    match (word, argument.as_str()) {
        ("ok", None) => Step::Write(super::OK.into()),
        ("accept", None) => Step::Accept,
        ("read_head", None) => Step::ReadHead,
        ("read_body", None) => Step::ReadBody,
        ("respond" | "garbage" | "late_bytes", Some(bytes)) => Step::Write(bytes.into()),
        ("stall", gate) => Step::Stall(gate.map(String::from)),
        ("fin", None) => Step::Fin,
        ("rst", None) => Step::Rst,
        ("close", None) => Step::Close,
        ("await_close", None) => Step::AwaitClose,
        _ => unreachable!("the README knows no step {value}"),
    }
}
