//! The answer to Ctrl-C: where the run stands and whom it waits for.

use std::time::Duration;

use super::fold;
use super::line::Line;
use crate::event::Status;

/// The status as lines for standard error; `elapsed` is since the run began.
pub fn lines(status: &Status, elapsed: Duration) -> Vec<Line> {
    let hosts = status.hosts;
    let counts = [
        ("done", hosts.done),
        ("running", hosts.running),
        ("waiting", hosts.waiting),
        ("failed", hosts.failed),
        ("unreachable", hosts.unreachable),
        ("cancelled", hosts.cancelled),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{} {word}", fold::count(*n))).collect();
    let mut lines = vec![headline(status, elapsed)];
    lines.push(format!("  {}: {}", fold::hosts(hosts.total()), counts.join(", ")));
    for waited in &status.waited_for {
        lines.push(format!("  waiting for {}: {} ({})", waited.host, waited.task, for_people(waited.since)));
    }
    if hosts.running > status.waited_for.len() && !status.waited_for.is_empty() {
        lines.push(format!("  and for {} more", fold::count(hosts.running - status.waited_for.len())));
    }
    lines.extend(status.advice.clone());
    lines.iter().map(|line| Line::new(line).to_err()).collect()
}

fn headline(status: &Status, elapsed: Duration) -> String {
    let mut text = format!("STATUS after {}", for_people(elapsed));
    if status.paused {
        text.push_str(", paused");
    }
    if let Some(play) = &status.play {
        text.push_str(&format!(": play [{play}]"));
    }
    if let Some(task) = &status.task {
        text.push_str(&format!(", task [{task}]"));
    }
    text
}

/// `7s`, `1m 23s`, `2h 00m`: the two largest units.
pub fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{host, shown};
    use super::*;
    use crate::event::{HostCounts, WaitedFor};

    #[test]
    fn a_status_tells_counts_and_the_hosts_waited_for() {
        let waited = |name, seconds| WaitedFor {
            host: host(name),
            task: "install\x1b[2J nginx".to_owned(),
            since: Duration::from_secs(seconds),
        };
        let status = Status {
            play: Some("web".to_owned()),
            task: Some("install nginx".to_owned()),
            hosts: HostCounts { waiting: 1200, running: 3, done: 790, failed: 5, unreachable: 2, cancelled: 0 },
            waited_for: vec![waited("web3", 7300), waited("web9", 42)],
            paused: true,
            advice: Some("to give a host up: rustle-exec runs drop ID HOST".to_owned()),
        };
        insta::assert_snapshot!(shown(&lines(&status, Duration::from_secs(83))), @r"
        stderr: STATUS after 1m 23s, paused: play [web], task [install nginx]
        stderr:   2,000 hosts: 790 done, 3 running, 1,200 waiting, 5 failed, 2 unreachable
        stderr:   waiting for web3: install\u001b[2J nginx (2h 01m)
        stderr:   waiting for web9: install\u001b[2J nginx (42s)
        stderr:   and for 1 more
        stderr: to give a host up: rustle-exec runs drop ID HOST
        ");
    }

    #[test]
    fn a_status_before_the_first_play_is_told_too() {
        let status = Status { hosts: HostCounts { waiting: 1, ..HostCounts::default() }, ..Status::default() };
        insta::assert_snapshot!(shown(&lines(&status, Duration::ZERO)), @"
        stderr: STATUS after 0s
        stderr:   1 host: 1 waiting
        ");
    }
}
