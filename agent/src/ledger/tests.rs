use std::fs;
use std::os::unix::fs::MetadataExt;

use futures::FutureExt;
use rustle_protocol::Value;

use super::*;

const OPTIONS: LedgerOptions =
    LedgerOptions { durability: Durability::Process, bytes_max: 1024 * 1024, age_max: Duration::from_secs(3600) };

fn key(task: u32) -> CallKey {
    CallKey { run: RunId::from_u128(7), task, round: 0, item: 0, attempt: 1 }
}

fn said(text: &str) -> CallOutcome {
    CallOutcome::Finished(ModuleResult::changed(true).with("stdout", text).with("rc", 0))
}

fn result(outcome: &CallOutcome) -> &ModuleResult {
    match outcome {
        CallOutcome::Finished(result) => result,
        other => panic!("{other:?}"),
    }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("ledger")
    }

    fn file(&self) -> PathBuf {
        self.dir().join(FILE_NAME)
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.dir(), OPTIONS).unwrap()
    }
}

impl Ledger {
    /// Without power durability nothing is waited for.
    fn begin_now(&self, task: u32) {
        self.begin(key(task), "ansible.builtin.shell").now_or_never().unwrap();
    }

    fn end_now(&self, task: u32, text: &str) -> CallOutcome {
        self.end(key(task), said(text), 5, false).now_or_never().unwrap()
    }

    fn call(&self, task: u32, text: &str) {
        self.begin_now(task);
        self.end_now(task, text);
    }
}

fn known(outcome: CallOutcome) -> Option<Known> {
    Some(Known::Ended { outcome, elapsed_us: 5 })
}

#[test]
fn a_result_is_there_until_it_is_acknowledged_also_in_the_next_life() {
    let home = Home::new();
    let ledger = home.open();
    assert_eq!(ledger.find(&key(1)), None);
    ledger.begin_now(1);
    assert_eq!(ledger.find(&key(1)), Some(Known::Running));
    assert_eq!(ledger.end_now(1, "hello"), said("hello"));
    assert_eq!(ledger.find(&key(1)), known(said("hello")));
    drop(ledger);
    let ledger = home.open();
    assert_eq!(ledger.find(&key(1)), known(said("hello")));
    ledger.settle(vec![key(1)]);
    assert_eq!(ledger.find(&key(1)), None);
    ledger.call(2, "two");
    drop(ledger);
    let ledger = home.open();
    assert_eq!((ledger.find(&key(1)), ledger.find(&key(2))), (None, known(said("two"))));
}

#[test]
fn a_call_without_an_end_is_interrupted_in_the_next_life() {
    let home = Home::new();
    home.open().begin_now(1);
    let interrupted = Some(Known::Interrupted { rebooted: false });
    assert_eq!(home.open().find(&key(1)), interrupted);
    let ledger = home.open();
    assert_eq!(ledger.find(&key(1)), interrupted, "and in the one after that");
    ledger.call(2, "two");
    assert_eq!(ledger.cut_off(), [key(1)]);
}

#[test]
fn a_call_that_the_machines_end_cut_off_is_told_from_one_that_the_agents_did() {
    let home = Home::new();
    let in_boot = |boot| Ledger::open_in(&home.dir(), OPTIONS, boot, Clock::of_the_wall()).unwrap();
    in_boot(1).begin_now(1);
    assert_eq!(in_boot(1).find(&key(1)), Some(Known::Interrupted { rebooted: false }));
    let ledger = in_boot(2);
    assert_eq!(ledger.find(&key(1)), Some(Known::Interrupted { rebooted: true }));
    assert_eq!(ledger.cut_off(), [], "none of its processes is left");
}

#[test]
fn a_kill_at_any_byte_leaves_every_earlier_record() {
    let home = Home::new();
    let ledger = home.open();
    ledger.call(1, "one");
    let before = fs::metadata(home.file()).unwrap().len();
    ledger.call(2, "two");
    drop(ledger);
    let whole = fs::read(home.file()).unwrap();
    for cut in usize::try_from(before).unwrap()..whole.len() {
        fs::write(home.file(), &whole[..cut]).unwrap();
        let ledger = home.open();
        assert_eq!(ledger.find(&key(1)), known(said("one")), "cut at {cut}");
        assert!(matches!(ledger.find(&key(2)), None | Some(Known::Interrupted { .. })), "cut at {cut}");
        // What is written behind a torn tail is found again.
        ledger.call(3, "three");
        drop(ledger);
        assert_eq!(home.open().find(&key(3)), known(said("three")), "cut at {cut}");
    }
    for cut in 0..HEADER.len() {
        fs::write(home.file(), &HEADER[..cut]).unwrap();
        home.open().call(1, "one");
        assert_eq!(home.open().find(&key(1)), known(said("one")), "header cut at {cut}");
    }
}

#[test]
fn a_damaged_record_costs_no_other() {
    let home = Home::new();
    (1..=3).for_each(|task| home.open().call(task, "x"));
    let mut bytes = fs::read(home.file()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(home.file(), bytes).unwrap();
    let ledger = home.open();
    assert_eq!(ledger.find(&key(1)), known(said("x")));
    assert_eq!(ledger.find(&key(3)), known(said("x")));
}

#[test]
fn a_file_of_another_version_is_put_aside() {
    let home = Home::new();
    drop(home.open());
    fs::write(home.file(), "rustle-agent ledger 9\nwhatever").unwrap();
    home.open().call(1, "one");
    assert_eq!(home.open().find(&key(1)), known(said("one")));
    assert!(fs::read_to_string(home.dir().join("calls.other")).unwrap().ends_with("whatever"));
}

#[test]
fn nobody_else_can_read_it() {
    let home = Home::new();
    home.open().call(1, "one");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&home.dir()), mode(&home.file())), (0o700, 0o600));
}

#[test]
fn a_result_with_no_log_is_never_in_the_file() {
    let home = Home::new();
    let ledger = home.open();
    ledger.begin_now(1);
    ledger.end(key(1), said("hunter2"), 5, true).now_or_never().unwrap();
    assert_eq!(ledger.find(&key(1)), known(said("hunter2")));
    drop(ledger);
    assert!(!String::from_utf8_lossy(&fs::read(home.file()).unwrap()).contains("hunter2"));
    let Some(Known::Ended { outcome, .. }) = home.open().find(&key(1)) else { panic!("the end is known") };
    let result = result(&outcome);
    assert!(result.changed && !result.failed && result.msg().contains("no_log"), "{result:?}");
}

#[test]
fn when_it_is_full_the_oldest_output_goes_and_the_statuses_stay() {
    let home = Home::new();
    let ledger = home.open();
    let text = "x".repeat(200 * 1024);
    (1..=20).for_each(|task| ledger.call(task, &text));
    let found = |ledger: &Ledger, task| match ledger.find(&key(task)) {
        Some(Known::Ended { outcome, .. }) => result(&outcome).clone(),
        other => panic!("{other:?}"),
    };
    for ledger in [ledger, home.open()] {
        let (first, last) = (found(&ledger, 1), found(&ledger, 20));
        assert_eq!((first.changed, first.get("rc"), first.get("stdout")), (true, Some(&Value::Int(0)), None));
        assert!(first.warnings[0].contains("its output was dropped"), "{first:?}");
        assert_eq!(last.get("stdout").and_then(Value::as_str), Some(&*text));
        drop(ledger);
    }
    let size = fs::metadata(home.file()).unwrap().len();
    assert!(size < 2 * OPTIONS.bytes_max + 2 * DEAD_BYTES_MAX, "{size} bytes");
}

#[test]
fn what_is_acknowledged_leaves_the_file() {
    let home = Home::new();
    let ledger = home.open();
    let text = "x".repeat(100 * 1024);
    for task in 0..200 {
        ledger.call(task, &text);
        ledger.settle(vec![key(task)]);
    }
    ledger.call(1000, "kept");
    let size = fs::metadata(home.file()).unwrap().len();
    assert!(size <= DEAD_BYTES_MAX + 200 * 1024, "{size} bytes");
    drop(ledger);
    let ledger = home.open();
    assert_eq!((ledger.find(&key(1000)), ledger.find(&key(199))), (known(said("kept")), None));
}

#[test]
fn results_that_nobody_fetches_go_with_their_age() {
    let home = Home::new();
    home.open().call(1, "one");
    let options = LedgerOptions { age_max: Duration::ZERO, ..OPTIONS };
    assert_eq!(Ledger::open(&home.dir(), options).unwrap().find(&key(1)), None);
}

#[test]
fn a_clock_that_is_wrong_at_the_next_start_costs_results_only_if_it_is_ahead_by_more_than_their_age() {
    const NOON: u64 = 1_800_000_000;
    let age = OPTIONS.age_max.as_secs();
    for (starts_at, is_kept) in [(0, true), (NOON - 86_400, true), (NOON + age - 60, true), (NOON + age, false)] {
        let home = Home::new();
        let open = |at| Ledger::open_in(&home.dir(), OPTIONS, 1, Clock::at(at)).unwrap();
        open(NOON).call(1, "one");
        let ledger = open(starts_at);
        ledger.call(2, "two");
        assert_eq!(ledger.find(&key(1)), is_kept.then(|| known(said("one"))).flatten(), "started at {starts_at}");
        assert_eq!(ledger.find(&key(2)), known(said("two")));
    }
}

#[test]
fn a_lower_epoch_is_refused_also_in_the_next_life() {
    let home = Home::new();
    let (run, alice, bob) = (RunId::from_u128(7), "alice".parse().unwrap(), "bob".parse().unwrap());
    let ledger = home.open();
    ledger.see_run(run, 1, &alice).unwrap();
    ledger.see_run(run, 1, &alice).unwrap();
    ledger.see_run(run, 2, &bob).unwrap();
    for ledger in [ledger, home.open()] {
        let refusal = ledger.see_run(run, 1, &alice).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Stale);
        assert!(refusal.message.contains("taken over by controller `bob` (epoch 2)"), "{refusal}");
        assert!(ledger.check_epoch(run, 1).is_err() && ledger.check_epoch(run, 2).is_ok());
        ledger.see_run(RunId::from_u128(8), 1, &alice).unwrap();
    }
}

#[test]
fn a_full_disk_costs_no_earlier_record_and_no_result() {
    let home = Home::new();
    let ledger = home.open();
    ledger.call(1, "one");
    let mut disk = fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    ledger.lock().file.swap(&mut disk);
    ledger.begin_now(2);
    let told = ledger.end_now(2, "two");
    assert_eq!(result(&told).get("stdout").and_then(Value::as_str), Some("two"));
    assert!(result(&told).warnings[0].contains("ledger degraded"), "{told:?}");
    ledger.begin_now(3);
    ledger.end(key(4), said("hunter2"), 5, true).now_or_never().unwrap();
    assert_eq!(ledger.find(&key(2)), known(said("two")));
    ledger.lock().file.swap(&mut disk);
    // There is room again: with the next record comes all that memory had to keep.
    assert_eq!(ledger.end_now(3, "three"), said("three"));
    assert_eq!(ledger.degraded(), None);
    let earlier = [(1, "one"), (2, "two"), (3, "three"), (4, "hunter2")];
    for (task, text) in earlier {
        assert_eq!(ledger.find(&key(task)), known(said(text)));
    }
    drop(ledger);
    assert!(!String::from_utf8_lossy(&fs::read(home.file()).unwrap()).contains("hunter2"));
    let ledger = home.open();
    for (task, text) in &earlier[..3] {
        assert_eq!(ledger.find(&key(*task)), known(said(text)));
    }
    assert!(matches!(ledger.find(&key(4)), Some(Known::Ended { .. })));
}
