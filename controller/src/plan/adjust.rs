//! What the command line changes in a plan before it is run.

use std::collections::HashSet;
use std::str::FromStr;

use rustle_protocol::HostName;

use super::{GATHER_FACTS, Plan, PlayId, SerialSize, Strategy, TagFilter, Task, TaskId, Waves};
use crate::template::{Authored, Templar};

impl Plan {
    /// Only these hosts take part.
    pub fn limit_to(&mut self, hosts: &[HostName]) {
        let wanted: HashSet<_> = hosts.iter().collect();
        for play in &mut self.plays {
            play.hosts.retain(|host| wanted.contains(host));
        }
    }

    /// Every play's hosts are cut anew, whatever the plan says.
    pub fn set_serial(&mut self, sizes: &[SerialSize]) {
        for play in &mut self.plays {
            play.waves = Waves::Serial(sizes.to_vec());
        }
    }

    pub fn set_strategy(&mut self, strategy: Strategy) {
        for play in &mut self.plays {
            play.strategy = strategy;
        }
    }

    /// Puts a `setup` task before the plays that want facts: those that say so, those that mention one if they say
    /// nothing, all or none if `always` says so. Its tags are the play's and `always`.
    pub fn gather_facts(&mut self, always: Option<bool>, tags: &TagFilter, templar: &Templar) {
        for at in 0..self.plays.len() {
            let id = PlayId(u32::try_from(at).expect("a plan has fewer plays than u32 counts"));
            let wanted = always.or(self.plays[at].gather_facts).unwrap_or_else(|| self.mentions_facts(id, templar));
            // A play whose hosts are looked up when it begins may have some then.
            if wanted && !(self.plays[at].hosts.is_empty() && self.plays[at].patterns.is_empty()) {
                let task = TaskId(u32::try_from(self.tasks.len()).expect("a plan has fewer tasks than u32 counts"));
                let play = &mut self.plays[at];
                let blank = || Task::new(task, id, GATHER_FACTS);
                let mut gather = play.gather.take().map_or_else(blank, |gather| Task { id: task, ..*gather });
                gather.name = Some("Gathering Facts".to_owned());
                gather.tags.push("always".to_owned());
                if !tags.keeps(&gather.tags) {
                    continue;
                }
                gather.args.extend(play.gathering.args());
                play.gathering.task = Some(task);
                play.tasks.insert(0, task);
                self.tasks.push(gather);
            }
        }
    }

    fn mentions_facts(&self, play: PlayId, templar: &Templar) -> bool {
        let play = self.play(play);
        let gathers_itself =
            |task: &Task| matches!(rustle_agent::module::short_name(&task.module), "setup" | "gather_facts");
        let tasks = || play.tasks.iter().chain(&play.handlers).map(|id| self.task(*id));
        !tasks().any(gathers_itself) && tasks().any(|task| mentions_facts(task, templar))
    }
}

/// Template files are not looked into: a play whose only mention of a fact is in one says `gather_facts`.
fn mentions_facts(task: &Task, templar: &Templar) -> bool {
    let looping = task.looping.iter().map(|looping| &looping.items);
    let delegation = task.delegation.iter().map(|delegation| &delegation.to);
    let values = task.args.values().chain(task.vars.values()).chain(looping).chain(delegation);
    let conditions = task.when.iter().chain(&task.changed_when).chain(&task.failed_when);
    let name = task.name.iter().map(|name| Authored::from_value(name.as_str().into()));
    let mut mentioned = values.flat_map(|value| templar.undeclared(value));
    mentioned.any(|name| is_fact(&name))
        || conditions.flat_map(|condition| templar.undeclared_in_condition(condition)).any(|name| is_fact(&name))
        || name.flat_map(|name| templar.undeclared(&name)).any(|name| is_fact(&name))
}

/// Names that begin as facts do and are the controller's own.
const NOT_FACTS: &[&str] = &[
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_batch",
    "ansible_play_name",
    "ansible_play_role_names",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_verbosity",
    "ansible_version",
    "ansible_forks",
    "ansible_limit",
    "ansible_loop",
    "ansible_loop_var",
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_connection",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_inventory_sources",
    "ansible_config_file",
];

fn is_fact(name: &str) -> bool {
    name.starts_with("ansible_") && !name.starts_with("ansible_become") && !NOT_FACTS.contains(&name)
}

/// A text that is no `serial`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a batch size: give a number such as 10 or a percentage such as 25%")]
pub struct SerialError(String);

impl FromStr for SerialSize {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<SerialSize, SerialError> {
        let text = text.trim();
        let wrong = || SerialError(text.to_owned());
        match text.strip_suffix('%') {
            Some(number) => match number.trim().parse::<f64>() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(SerialSize::Percent(percent)),
                _ => Err(wrong()),
            },
            None => text.parse().map(SerialSize::Count).map_err(|_| wrong()),
        }
    }
}

/// `1,10%,100%`
///
/// # Errors
/// The first size that is none.
pub fn serial_sizes(text: &str) -> Result<Vec<SerialSize>, SerialError> {
    text.trim_matches(['[', ']']).split(',').map(|size| size.trim().trim_matches(['"', '\'']).parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_and_percentages() {
        assert_eq!(
            serial_sizes("1, 10%,100%").unwrap(),
            [SerialSize::Count(1), SerialSize::Percent(10.0), SerialSize::Percent(100.0)]
        );
        assert_eq!(serial_sizes("[1, \"25%\"]").unwrap(), [SerialSize::Count(1), SerialSize::Percent(25.0)]);
        for wrong in ["", "x", "-1", "0%", "101%", "1,,2"] {
            assert!(serial_sizes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_controllers_own_names_are_no_facts() {
        assert!(is_fact("ansible_system") && is_fact("ansible_facts"));
        assert!(!is_fact("ansible_check_mode") && !is_fact("inventory_hostname"));
    }
}
