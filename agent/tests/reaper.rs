//! Orphans are reaped, and never a child that is waited for. In a process of its own, since being a subreaper is a
//! property of the process.

use std::time::{Duration, Instant};

use rustle_agent::module::{CancelToken, ModuleContext, NoBlobs, NoOutput};
use rustle_agent::process::{Program, become_subreaper, reap_orphans};

#[test]
fn orphans_are_reaped_and_supervised_children_keep_their_exit_status() {
    become_subreaper().unwrap();
    let cancel = CancelToken::new().unwrap();
    let cx = ModuleContext {
        check: false,
        diff: false,
        verbosity: 0,
        environment: &[],
        output: &NoOutput,
        blobs: &NoBlobs,
        cancel: &cancel,
    };
    std::thread::scope(|scope| {
        // Ends long before it is waited for by poll, again and again, while the reaper looks.
        let programs = scope.spawn(|| {
            for rc in 0..50 {
                assert_eq!(Program::new("sh").arg("-c").arg(format!("exit {rc}")).run(&cx).unwrap().rc, rc);
            }
        });
        while !programs.is_finished() {
            reap_orphans();
        }
    });

    let line = "(setsid sleep 0.05 </dev/null >/dev/null 2>&1 & echo $!)";
    let orphan = Program::new("sh").arg("-c").arg(line).run(&cx).unwrap().stdout.text().trim().to_owned();
    let stat = || std::fs::read_to_string(format!("/proc/{orphan}/stat"));
    assert!(stat().unwrap().contains(&format!(" {} ", std::process::id())), "the orphan is not ours: {:?}", stat());
    let until = Instant::now() + Duration::from_secs(20);
    while stat().is_ok() {
        reap_orphans();
        assert!(Instant::now() < until, "never reaped: {:?}", stat());
    }
}
