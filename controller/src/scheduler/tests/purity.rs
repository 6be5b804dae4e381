//! The door between the scheduler and the world stays shut.

use std::fs;
use std::path::Path;

/// What would let the world in: a runtime, a transport, a clock, files, threads, chance.
const FORBIDDEN: [&str; 14] = [
    "tokio",
    "quinn",
    "futures",
    "async ",
    ".await",
    "Instant",
    "SystemTime",
    "chrono",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "HashMap",
    "HashSet",
];

#[test]
fn nothing_in_the_scheduler_names_a_clock_a_socket_a_runtime_or_an_unordered_map() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheduler");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for name in FORBIDDEN {
            assert!(!source.contains(name), "{} names {name}", path.display());
        }
        read += 1;
    }
    assert!(read > 10, "the scheduler's files were not found");
}
