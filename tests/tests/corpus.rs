//! Replays every committed input of the fuzzer: what once was found stays found.

use std::path::Path;

use rustle_tests::fuzz_targets::TARGETS;

#[test]
fn no_input_that_the_fuzzer_ever_found_panics() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{} panics", path.display());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_target_is_total_on_odd_input() {
    let long = vec![b'['; 100_000];
    let inputs: [&[u8]; 8] = [b"", b"\0", &[0xff; 300], b"{", b"\xef\xbb\xbf", b"{{", b"&&!!", &long];
    for (_, target) in TARGETS {
        inputs.iter().for_each(|input| target(input));
    }
}
