//! Journals that were cut off, flipped, full, and without power.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::DateTime;
use rustle_protocol::RunId;

use super::frame::{self, MAGIC};
use super::*;
use crate::plan::{BlockId, RoleIdentity, Section, TaskId, Within};
use crate::scheduler::{Event, HostIx, Limits, Outcome, RoleUse, RunTime, Splice, Verdict};

fn header() -> Record {
    Record::Begun(Box::new(Header {
        run: RunId::from_u128(7),
        started: DateTime::UNIX_EPOCH,
        software: "rustle-exec/test".into(),
        inputs: Inputs::default(),
        limits: Limits::default(),
        hosts: vec!["web1".parse().unwrap()],
        plan: PlanPrint::default(),
    }))
}

fn event(task: u32) -> Record {
    let event = Event::Finished { host: HostIx(0), task: TaskId(task), outcome: Outcome::of(Verdict::Ok) };
    let at = RunTime(Duration::from_millis(u64::from(task)));
    Record::Event(Box::new(EventRecord { at, event, result: None, lost: None, lessons: Vec::new() }))
}

/// A journal of a header and so many events, and where its records end.
fn journal(events: u32) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = MAGIC.to_vec();
    let mut ends = Vec::new();
    for (number, record) in std::iter::once(header()).chain((0..events).map(event)).enumerate() {
        frame::push(&mut bytes, number as u64, &serde_json::to_vec(&record).unwrap()).unwrap();
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// Whole records, and what is wrong behind them.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, Option<Damage>), JournalError> {
    let mut records = Records::new(Path::new("journal"), bytes)?;
    let read = records.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((read, records.damage()))
}

#[test]
fn what_was_written_is_read_back() {
    let (bytes, ends) = journal(3);
    let (records, damage) = read(&bytes).unwrap();
    assert_eq!(records, [header(), event(0), event(1), event(2)]);
    assert_eq!((damage, ends.len()), (None, 4));
}

#[test]
fn a_journal_cut_off_at_any_byte_has_every_record_that_was_whole() {
    let (bytes, ends) = journal(3);
    for length in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count();
        match read(&bytes[..length]) {
            Err(JournalError::Empty { .. }) => assert!(length < MAGIC.len()),
            Err(error) => panic!("{length}: {error}"),
            Ok((records, damage)) => {
                assert_eq!(records.len(), whole, "{length}");
                let good = ends.iter().copied().rfind(|end| *end <= length).unwrap_or(MAGIC.len());
                let lost = (length - good) as u64;
                let found = damage.map(|damage| (damage.good, damage.lost));
                assert_eq!(found, (lost > 0).then_some((good as u64, lost)), "{length}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_the_last_record_costs_that_record_and_no_other() {
    let (bytes, ends) = journal(2);
    for at in ends[1]..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let (records, damage) = read(&flipped).unwrap();
            assert_eq!(records, [header(), event(0)], "byte {at} bit {bit}");
            assert_eq!(damage.unwrap().good, ends[1] as u64);
        }
    }
}

#[test]
fn a_flipped_bit_that_whole_records_follow_is_told_and_nothing_is_believed() {
    let (bytes, ends) = journal(2);
    for at in ends[0]..ends[1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(matches!(read(&flipped), Err(JournalError::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn zeros_and_rubbish_behind_the_last_record_are_cut_off() {
    for tail in [vec![0; 5000], vec![0xf5; 100], b"rustle-exec journal 1\n".to_vec()] {
        let (mut bytes, ends) = journal(1);
        bytes.extend(&tail);
        let (records, damage) = read(&bytes).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(damage.unwrap().good, ends[1] as u64);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(last_record(&path).unwrap(), Some(event(0)));
        drop(repair(&path, ends[1] as u64).unwrap());
        assert_eq!(read(&std::fs::read(&path).unwrap()).unwrap().1, None);
    }
}

#[test]
fn other_files_are_no_journals() {
    for bytes in [&b"{\"plays\": []}"[..], b"rustle-exec journal 2\n......................"] {
        assert!(matches!(read(bytes), Err(JournalError::NotAJournal { .. })));
    }
}

/// What a disk was told, and whether it has failed.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// Survives the loss of power.
    synced: Vec<u8>,
    /// The system has it; a loss of power takes it.
    written: Vec<u8>,
    full: bool,
    room_bytes: Option<usize>,
    syncs: usize,
}

impl Scripted {
    fn with<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn journal(&self, durability: Durability) -> Journal {
        Journal::new(self.empty(), durability, MAGIC.len() as u64, 0)
    }

    fn empty(&self) -> Box<Scripted> {
        self.with(|script| {
            script.written = MAGIC.to_vec();
            script.synced = MAGIC.to_vec();
        });
        Box::new(self.clone())
    }
}

impl Disk for Scripted {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|script| {
            let room = script.room_bytes.unwrap_or(usize::MAX).saturating_sub(script.written.len());
            let fits = bytes.len().min(if script.full { room.min(7) } else { room });
            script.written.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|script| {
            script.synced = script.written.clone();
            script.syncs += 1;
        });
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.with(|script| script.written.truncate(length as usize));
        Ok(())
    }
}

fn settle(journal: &Journal, count: Seq) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(journal.settled(count));
}

#[test]
fn what_counts_as_durable_outlasts_a_loss_of_power_at_any_moment() {
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Power);
    journal.append(&header()).unwrap();
    for task in 0..50 {
        journal.append(&event(task)).unwrap();
        if task % 7 == 0 {
            settle(&journal, journal.len());
        }
        // What is durable is asked first: it may only be too little.
        let durable = journal.durable();
        let (records, _) = read(&disk.with(|script| script.synced.clone())).unwrap();
        assert!(records.len() as u64 >= durable, "{durable} count as durable, {} are", records.len());
    }
    journal.close().unwrap();
    assert!(disk.with(|script| script.syncs) <= 51);
    assert_eq!(read(&disk.with(|script| script.synced.clone())).unwrap().0.len(), 51);
}

#[test]
fn records_share_the_sync_of_the_first_one_that_is_waited_for() {
    let disk = Scripted::default();
    let journal = Journal::gathering(Duration::MAX, disk.empty(), Durability::Power, MAGIC.len() as u64, 0);
    for task in 0..50 {
        journal.append(&event(task)).unwrap();
    }
    settle(&journal, 1);
    assert_eq!((journal.durable(), disk.with(|script| script.syncs)), (50, 1));
    journal.append(&event(50)).unwrap();
    journal.close().unwrap();
    assert_eq!((journal.durable(), disk.with(|script| script.syncs)), (51, 2));
}

#[test]
fn a_record_that_nobody_waits_for_is_written_all_the_same() {
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Power);
    journal.append(&header()).unwrap();
    let began = Instant::now();
    while journal.durable() < 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody writes it");
        std::thread::yield_now();
    }
    assert_eq!(read(&disk.with(|script| script.synced.clone())).unwrap().0, [header()]);
}

#[test]
fn against_the_death_of_the_process_alone_no_disk_is_waited_for() {
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Process);
    journal.append(&header()).unwrap();
    settle(&journal, 1);
    assert_eq!(disk.with(|script| (script.syncs, read(&script.written).unwrap().0.len())), (0, 1));
    journal.close().unwrap();
}

#[test]
fn on_a_full_disk_earlier_records_stay_whole_and_later_ones_wait_for_room() {
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Power);
    journal.append(&header()).unwrap();
    settle(&journal, 1);
    disk.with(|script| script.full = true);
    journal.append(&event(0)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let trouble = runtime.block_on(journal.trouble_is_not(&None));
    assert!(trouble.as_ref().is_some_and(|trouble| trouble.is_full), "{trouble:?}");
    assert_eq!(journal.durable(), 1);
    assert_eq!(read(&disk.with(|script| script.synced.clone())).unwrap().0.len(), 1);
    disk.with(|script| script.full = false);
    settle(&journal, 2);
    assert_eq!(runtime.block_on(journal.trouble_is_not(&trouble)), None);
    journal.close().unwrap();
    assert_eq!(read(&disk.with(|script| script.synced.clone())).unwrap(), (vec![header(), event(0)], None));
}

#[test]
fn a_disk_that_stays_full_ends_the_journal_with_what_was_durable() {
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Power);
    journal.append(&header()).unwrap();
    settle(&journal, 1);
    disk.with(|script| script.full = true);
    journal.append(&event(0)).unwrap();
    assert!(journal.close().unwrap_err().is_full);
    assert_eq!(read(&disk.with(|script| script.synced.clone())).unwrap(), (vec![header()], None));
}

#[test]
fn a_run_has_one_controller_and_the_second_is_told_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    assert_eq!(Lease::holder(&path).unwrap(), None);
    let lease = Lease::acquire(&path).unwrap();
    let Err(LeaseError::Held(Held(holder))) = Lease::acquire(&path) else { panic!("two have the lease") };
    assert_eq!(holder.pid, std::process::id());
    assert_eq!(Lease::holder(&path).unwrap(), Some(holder));
    drop(lease);
    assert_eq!(Lease::holder(&path).unwrap(), None);
    Lease::acquire(&path).unwrap();
}

#[test]
fn a_run_is_found_by_as_much_of_its_id_as_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let runs = Runs::new(dir.path());
    assert!(runs.list().unwrap().is_empty());
    assert!(matches!(runs.find("last"), Err(FindError::NoneKept { .. })));
    let ids = ["01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-0000000000a2"];
    for id in ids {
        runs.create(id.parse().unwrap()).unwrap();
    }
    std::fs::create_dir(dir.path().join("runs/no-run")).unwrap();
    assert_eq!(runs.list().unwrap().len(), 2);
    assert_eq!(runs.find("01900000-0000-7000-8000-0000000000A").unwrap().id.to_string(), ids[1]);
    assert_eq!(runs.find("last").unwrap().id.to_string(), ids[1]);
    assert!(matches!(runs.find("0190"), Err(FindError::Several { count: 2, .. })));
    for given in ["0191", "", "../runs", "no-run"] {
        assert!(matches!(runs.find(given), Err(FindError::None { .. })), "{given}");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.path().join("runs")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_run_that_began_last_is_listed_last_though_the_clock_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let runs = Runs::new(dir.path());
    let ahead = "fffffff0-0000-7000-bfff-ffffffffffff".parse().unwrap();
    runs.create(ahead).unwrap();
    let ids = [(); 3].map(|()| runs.create(runs.fresh_id()).unwrap().id);
    assert!(ahead < ids[0] && ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");
    assert_eq!(runs.find("last").unwrap().id, ids[2]);
    assert_eq!(uuid::Uuid::parse_str(&ids[2].to_string()).unwrap().get_version_num(), 7);
}

#[test]
fn what_hosts_include_is_read_back_as_it_was_written_blocks_and_roles_too() {
    let inner = Within { block: BlockId(4), section: Section::Rescue };
    let used = RoleUse { identity: RoleIdentity::of("web"), once: true, parent: Some(2) };
    let splice = Splice {
        steps: Vec::new(),
        blocks: [(BlockId(4), None), (BlockId(12), Some(inner))].into(),
        roles: [(0, used), (12, RoleUse { parent: None, ..used })].into(),
        handlers: Vec::new(),
        superseded: Vec::new(),
    };
    let outcome = Outcome { included: vec![splice], ..Outcome::of(Verdict::Ok) };
    let event = Event::Finished { host: HostIx(0), task: TaskId(1), outcome };
    let at = RunTime(Duration::ZERO);
    let record = Record::Event(Box::new(EventRecord { at, event, result: None, lost: None, lessons: Vec::new() }));
    let disk = Scripted::default();
    let journal = disk.journal(Durability::Process);
    journal.append(&header()).unwrap();
    journal.append(&record).unwrap();
    journal.close().unwrap();
    assert_eq!(read(&disk.with(|script| script.written.clone())).unwrap().0, [header(), record]);
}
