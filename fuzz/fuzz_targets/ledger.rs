#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustle_tests::fuzz_targets::ledger(data));
