//! What the fuzzer calls, and what `cargo test` replays the committed inputs with: every parser that reads what somebody
//! else wrote. Bytes in, nothing out; the promise is that none panics, hangs or takes memory beyond its limit.

use std::io::Write;
use std::path::Path;

use rustle_exec::engine::Registry;
use rustle_exec::input::inventory::{Inventory, Limits, limit, select};
use rustle_exec::input::{LoadRequest, PlanSource, load, yaml};
use rustle_exec::journal::{Past, Records};
use rustle_exec::template::{Authored, Conditionals, Templar};
use rustle_exec::vars::{Scope, VarMap, data_map};
use rustle_protocol::identity::identity_of;
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::message::{BlobHeader, CallEvent, CallRequest, ControlNotice, ControlRequest, Hello, HelloReply};
use rustle_protocol::trust::Trust;
use rustle_protocol::{HostName, Identity, LoadedIdentity, Map, Value, codec};

/// A parser under test.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary and its folder under `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 10] = [
    ("frame", frame),
    ("value", value),
    ("plan", plan),
    ("inventory", inventory),
    ("yaml", yaml),
    ("identity", identity),
    ("template", template),
    ("pattern", pattern),
    ("ledger", ledger),
    ("journal", journal),
];

/// Input beyond this teaches nothing that shorter input does not.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// An agent's ledger as a crash or a bad disk may have left it, with and without its first line.
pub fn ledger(data: &[u8]) {
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    let whole = [rustle_agent::ledger::record::HEADER, data].concat();
    assert!(rustle_agent::ledger::calls_in(&whole) <= data.len());
    let _ = rustle_agent::ledger::calls_in(data);
}

/// The body of a frame, taken for each message in turn. What decodes must encode to something that decodes to the same.
pub fn frame(data: &[u8]) {
    fn check<T: bincode::Decode<()> + bincode::Encode>(data: &[u8]) {
        if let Ok(message) = codec::decode::<T>(data) {
            let again = codec::encode(&message).expect("what was decoded can be encoded");
            let _same: T = codec::decode(&again).expect("what was encoded can be decoded");
        }
    }
    check::<Hello>(data);
    check::<HelloReply>(data);
    check::<ControlRequest>(data);
    check::<ControlNotice>(data);
    check::<CallRequest>(data);
    check::<CallEvent>(data);
    check::<BlobHeader>(data);
}

/// A journal: every record that is whole, and what counts of it for a run that goes on.
pub fn journal(data: &[u8]) {
    let path = Path::new("journal");
    if let Ok(records) = Records::new(path, data) {
        records.for_each(drop);
    }
    if let Ok(mut past) = Records::new(path, data).and_then(|records| Past::new(path, records)) {
        past.by_ref().for_each(drop);
        assert!(past.good_bytes() <= data.len() as u64, "more is whole than there is");
    }
}

/// One value: off the wire, into JSON and back.
pub fn value(data: &[u8]) {
    if let Ok(value) = codec::decode::<Value>(data) {
        codec::encode(&value).expect("what was decoded can be encoded");
        let json = value.to_json();
        serde_json::from_str::<Value>(&json).expect("what was written is JSON");
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let _ = codec::encode(&value);
    }
}

/// A plan of `rustle-plan`, or a parsed playbook of `rustle-parse`.
pub fn plan(data: &[u8]) {
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    let modules = Registry::native();
    let request =
        LoadRequest { plan: PlanSource::Bytes(data.to_vec()), parsed: None, inventory: None, modules: &modules };
    if let Err(error) = load(request) {
        assert!(!error.to_string().is_empty(), "an error says something");
    }
}

/// An inventory file: the first byte chooses its ending, which decides between INI, YAML and JSON.
pub fn inventory(data: &[u8]) {
    let Some((choice, text)) = data.split_first().filter(|_| data.len() <= INPUT_BYTES_MAX) else { return };
    // What begins so would be run as a program if the file could be executed, which it cannot; its text is what counts.
    let suffix = [".ini", ".yml", ".json", ""][usize::from(choice % 4)];
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join(format!("hosts{suffix}"));
    std::fs::write(&path, text).expect("a file can be written");
    let limits = Limits { hosts_max: 10_000, ..Limits::default() };
    if let Ok(inventory) = Inventory::load(&[path], limits) {
        let _ = select(&inventory, "all:!nobody");
        for (id, _) in inventory.hosts().take(100) {
            let _ = (inventory.merged_vars(id), inventory.address(id), inventory.port(id));
        }
    }
}

/// A YAML document.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    if let Ok(document) = yaml::compose(text)
        && let Some(root) = document.root
    {
        let _ = root.to_value();
    }
}

/// Names, certificates, revocation lists and PEM files as somebody else may have made them.
pub fn identity(data: &[u8]) {
    let der = data.to_vec();
    let _ = identity_of(&der.clone().into());
    let fleet = "demo".parse().expect("`demo` is a fleet name");
    let _ = Trust::new(fleet, &[der.clone().into()], vec![der.into()]);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<HostName>();
        if let Ok(identity) = text.parse::<Identity>() {
            assert_eq!(identity.to_string(), text, "there is one text for each identity");
        }
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let files = IdentityFiles::in_dir(folder.path());
    for path in [&files.certificate, &files.ca, &files.revocations, &files.key] {
        private_file(path, data);
    }
    let _ = LoadedIdentity::load(&files);
}

fn private_file(path: &Path, data: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(data)).expect("a file can be written");
}

/// Text of a plan's author: compiled and rendered, as a template and as a condition, with some variables.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if data.len() > 4 * 1024 || reaches_out(text) {
        return;
    }
    let templar = Templar::new();
    let scope = Scope::of(&templar, [std::sync::Arc::new(variables())]);
    let authored = Authored::from_value(text.into());
    let _ = templar.check(&authored);
    let _ = templar.undeclared(&authored);
    let _ = templar.render(&authored, &scope);
    let _ = templar.render_text(text, &scope);
    for rule in [Conditionals::Strict, Conditionals::Lenient] {
        let _ = templar.condition(text, &scope, rule);
    }
}

/// What lookups do is their purpose: a fuzzer must not make programs start and files be read.
fn reaches_out(text: &str) -> bool {
    ["lookup", "query", "include", "import", "extends", "fileglob", "now"].iter().any(|word| text.contains(word))
}

fn variables() -> VarMap {
    let list: Value = (1..4).map(Value::from).collect();
    let dict: Map = [("k".to_owned(), Value::from("v"))].into_iter().collect();
    let all = [("n", 3.into()), ("s", "text".into()), ("l", list), ("d", dict.into()), ("none", Value::Null)];
    data_map(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A pattern that chooses hosts, as in `hosts:` and `--limit`.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if data.len() > 1024 || text.starts_with('@') {
        return;
    }
    let names = ["web1", "web2", "db-1.example.org", "10.0.0.1"];
    let inventory = Inventory::of_hosts(names).expect("these are host names");
    if let Ok(hosts) = select(&inventory, text) {
        assert!(hosts.len() <= names.len(), "no host comes twice");
    }
    let _ = limit(&inventory, text);
}
