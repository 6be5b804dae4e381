//! What a journal holds. JSON inside, so that a later version reads what this one wrote: fields and variants are added,
//! never renamed or removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustle_protocol::result::Diff;
use rustle_protocol::value::Map;
use rustle_protocol::{HostName, RunId};
use serde::{Deserialize, Serialize};

use crate::event::{ItemResult, Stamped, TaskResult, TaskStatus};
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{Event, Limits, RunTime};
use crate::vars::{Lesson, exact};

/// A record's number in its journal, from 0.
pub type Seq = u64;

/// One record. The first of a journal is [`Record::Begun`], and there is no other of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Begun(Box<Header>),
    /// Another controller went on with the run, from this record on. Its epoch is higher than any before.
    TakenOver {
        epoch: u64,
        at: DateTime<Utc>,
        software: String,
        /// The plan was not the same any more, and the operator said that it may be.
        #[serde(default)]
        plan_changed: bool,
    },
    /// Told to reporters, and not because of anything that follows from the other records.
    Told(Stamped),
    /// Told to reporters because the scheduler said so: the same events make it say so again.
    Noticed(Stamped),
    /// The scheduler was given this event at this time.
    Event(Box<EventRecord>),
    /// An item of a loop came to its end.
    Item(Box<ItemRecord>),
    /// A try of a task with `until` did not reach what it waits for.
    Tried {
        host: HostName,
        task: TaskId,
        round: u32,
        item: u32,
        number: u32,
    },
    /// Something joined the plan while it ran. Numbers that later records name depend on it.
    Grown(Box<Growth>),
    /// The run was given up while nobody worked on it: it does not go on.
    GivenUp {
        at: DateTime<Utc>,
    },
}

/// What joined the plan, as it was wished for: a run that goes on has the same wishes fulfilled again, in the same order.
/// Whatever changes plays, tasks or hosts while a run is under way is one of these, and is written down before an event that
/// speaks of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// What a task included became tasks of the plan.
    Included(IncludeRecord),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncludeRecord {
    /// The including task.
    pub task: TaskId,
    /// How many equal wishes of the same host came before this one.
    pub before: usize,
    #[serde(with = "exact")]
    pub args: Map,
    /// What the task's loop gave it.
    #[serde(with = "exact")]
    pub locals: Map,
    /// What was read then.
    pub brought: PlanPrint,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    pub at: RunTime,
    pub event: Event,
    /// The task's result, told to reporters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<Stamped>,
    /// The result that the task has if the scheduler makes no other try.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<Box<TaskResult>>,
    /// What the run learnt with it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lessons: Vec<Lesson>,
}

/// A loop item that is over: what its task needs to go on behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    pub host: HostName,
    pub task: TaskId,
    pub round: u32,
    /// From 0.
    pub item: u32,
    pub status: TaskStatus,
    #[serde(with = "exact")]
    pub values: Map,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub diff: Vec<Diff>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// As reporters see it.
    pub shown: Arc<ItemResult>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lessons: Vec<Lesson>,
    /// `break_when` ended the loop with it.
    #[serde(default)]
    pub is_last: bool,
}

/// What a run is, decided before it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub run: RunId,
    pub started: DateTime<Utc>,
    pub software: String,
    pub inputs: Inputs,
    /// Bounds and chance of the scheduler: the same events make the same run only with the same ones.
    pub limits: Limits,
    /// Every host of the run, in the order of their numbers.
    pub hosts: Vec<HostName>,
    pub plan: PlanPrint,
}

/// How the program was called: what resumes a run calls it so again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Without the program's name.
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    /// Variables of the environment that are settings of ours.
    pub environment: Vec<(String, String)>,
    /// What the operator said when `vars_prompt` asked, but for secret answers.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub answers: Vec<(String, String)>,
}

/// What a plan says, short enough to keep and precise enough to name what changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanPrint {
    pub source: String,
    pub plays: Vec<PlayPrint>,
    pub tasks: Vec<TaskPrint>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlayPrint {
    pub play: PlayId,
    pub name: String,
    /// Of its tasks' and handlers' ids, its hosts and how they are cut into batches: where the run is in the play.
    pub shape: String,
    /// Of everything else it says.
    pub content: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskPrint {
    pub task: TaskId,
    pub title: String,
    pub content: String,
}

impl Record {
    /// What it says to reporters, if anything.
    pub fn told(&self) -> Option<&Stamped> {
        match self {
            Record::Told(stamped) | Record::Noticed(stamped) => Some(stamped),
            Record::Event(record) => record.result.as_ref(),
            Record::Begun(_)
            | Record::TakenOver { .. }
            | Record::Item(_)
            | Record::Tried { .. }
            | Record::Grown(_)
            | Record::GivenUp { .. } => None,
        }
    }

    /// The run's time when it was written, if it says so.
    pub fn elapsed(&self) -> Option<Duration> {
        match self {
            Record::Event(record) => Some(record.at.0),
            other => other.told().map(|stamped| stamped.elapsed),
        }
    }
}
