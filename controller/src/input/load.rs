//! From a file or stdin to a [`Plan`]: which kind of JSON it is, and who reads it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustle_agent::module::args::nearest;
use rustle_protocol::HostName;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::inventory::{Inventory, LOCALHOSTS};
use super::rustle_parse::ParsedFile;
use super::source::{Place, Position};
use super::{InputError, json, rustle_parse, rustle_plan};
use crate::plan::check::ModuleCatalog;
use crate::plan::{Plan, digest};

/// Size of a plan. A thousand tasks on a thousand hosts are 60 MB.
pub const PLAN_BYTES_MAX: u64 = 256 << 20;

/// Where a plan comes from.
#[derive(Clone, Debug)]
pub enum PlanSource {
    Path(PathBuf),
    /// What was read from stdin.
    Bytes(Vec<u8>),
    /// What was read already, and where.
    Text {
        name: String,
        text: String,
    },
}

/// A plan's text, and who reads it.
pub enum Opened {
    /// `rustle-exec plan` has printed it: for [`Printed`](super::playbook::Printed). What is no JSON before it is gone.
    Printed { name: String, json: String },
    /// For [`load`].
    Other(PlanSource),
}

/// What is to be loaded, and what helps to understand it.
pub struct LoadRequest<'a> {
    pub plan: PlanSource,
    /// The output of `rustle-parse` that the plan was made of.
    pub parsed: Option<&'a Path>,
    /// The inventory given with `-i`. Without it the one inside the parsed playbook resolves groups.
    pub inventory: Option<&'a Inventory>,
    /// Tells which arguments are text.
    pub modules: &'a dyn ModuleCatalog,
}

#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// The inventory inside the parsed playbook, if there is one.
    pub inventory: Option<Inventory>,
}

/// Reads a plan's text and finds out whose it is.
///
/// # Errors
/// A file that cannot be read, and text that is no plan.
pub fn open(source: PlanSource) -> Result<Opened, InputError> {
    let (name, text) = text_of(source)?;
    let plan = Text::new(&name, &text)?;
    Ok(match plan.kind()? {
        Kind::Printed => Opened::Printed { json: plan.json.to_owned(), name },
        Kind::Plan | Kind::Parsed => Opened::Other(PlanSource::Text { name, text }),
    })
}

fn text_of(source: PlanSource) -> Result<(String, String), InputError> {
    match source {
        PlanSource::Path(path) => Ok((path.display().to_string(), read(&path)?)),
        PlanSource::Bytes(bytes) => Ok(("-".to_owned(), into_text("-", bytes)?)),
        PlanSource::Text { name, text } => Ok((name, text)),
    }
}

/// Reads a plan of `rustle-plan`, with or without the parsed playbook it was made of, or a parsed playbook alone. Lines
/// before the first that begins with `{` are skipped: some tools log to stdout.
///
/// # Errors
/// Everything that is wrong with the plan itself. Nothing was contacted.
pub fn load(request: LoadRequest<'_>) -> Result<Loaded, InputError> {
    let (name, text) = text_of(request.plan)?;
    let plan_text = Text::new(&name, &text)?;
    let kind = plan_text.kind()?;
    let mut parsed_digest = None;
    let parsed = match (kind, request.parsed) {
        (Kind::Printed, _) => {
            let what = "a plan of rustle-exec, where one of rustle-plan was expected".to_owned();
            return Err(InputError::Json { place: Place::whole(plan_text.source), what, hint: None });
        }
        (Kind::Parsed, _) => Some((plan_text.source.clone(), plan_text.parse::<ParsedFile>()?)),
        (Kind::Plan, None) => None,
        (Kind::Plan, Some(path)) => {
            let text = read(path)?;
            let parsed_text = Text::new(&path.display().to_string(), &text)?;
            if parsed_text.kind()? != Kind::Parsed {
                let what = "expected the output of rustle-parse, not a plan".to_owned();
                let hint = Some("--parsed takes what rustle-parse printed".to_owned());
                return Err(InputError::Json { place: Place::whole(parsed_text.source), what, hint });
            }
            parsed_digest = Some(parsed_text.digest()?);
            Some((parsed_text.source.clone(), parsed_text.parse::<ParsedFile>()?))
        }
    };
    let inventory = match parsed.as_ref().and_then(|(source, file)| Some((source, file.inventory.as_ref()?))) {
        Some((source, inventory)) => Some(rustle_parse::inventory_of(inventory, source)?),
        None => None,
    };
    let cx = Context {
        source: Arc::clone(&plan_text.source),
        skipped_lines: plan_text.skipped_lines,
        modules: request.modules,
        inventory: request.inventory.or(inventory.as_ref()),
    };
    let parsed = parsed.as_ref().map(|(_, file)| file);
    let mut plan = match (kind, parsed) {
        (Kind::Parsed, Some(parsed)) => rustle_parse::read(parsed, &cx)?,
        (Kind::Parsed | Kind::Plan | Kind::Printed, parsed) => rustle_plan::read(plan_text.json, parsed, &cx)?,
    };
    plan.digest = plan_text.digest()?;
    if let Some(parsed) = parsed_digest {
        plan.digest = blake3::hash(format!("{} {parsed}", plan.digest).as_bytes()).to_hex().to_string();
    }
    Ok(Loaded { plan, inventory })
}

/// Checks that the inventory has every host that the plan names. `localhost` is always there.
///
/// # Errors
/// The hosts it does not have. `inventory_name` is what the operator called it, for the message.
pub fn check_hosts(plan: &Plan, inventory: &Inventory, inventory_name: &str) -> Result<(), InputError> {
    let known = |host: &HostName| inventory.contains(host.as_str()) || LOCALHOSTS.contains(&host.as_str());
    let hosts: Vec<String> =
        plan.hosts().into_iter().filter(|host| !known(host)).map(|host| host.as_str().to_owned()).collect();
    let Some(first) = hosts.first() else { return Ok(()) };
    let names = inventory.hosts().map(|(_, name)| name.as_str());
    let nearest = nearest(first, names).map(str::to_owned);
    Err(InputError::UnknownHosts { plan: plan.source(), inventory: inventory_name.to_owned(), hosts, nearest })
}

/// What readers of a plan share.
pub(super) struct Context<'a> {
    pub(super) source: Arc<str>,
    skipped_lines: usize,
    pub(super) modules: &'a dyn ModuleCatalog,
    pub(super) inventory: Option<&'a Inventory>,
}

impl Context<'_> {
    pub(super) fn invalid(&self, what: impl Into<String>, hint: Option<&str>) -> InputError {
        InputError::InvalidPlan {
            source_name: self.source.to_string(),
            what: what.into(),
            hint: hint.map(str::to_owned),
        }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, json: &str) -> Result<T, InputError> {
        serde_json::from_str(json).map_err(|error| not_json(&self.source, self.skipped_lines, &error))
    }
}

fn not_json(source: &Arc<str>, skipped_lines: usize, error: &serde_json::Error) -> InputError {
    let error_at = json::describe(error);
    let at = Position { line: error_at.at.line.saturating_add(skipped_lines as u32), ..error_at.at };
    let what = if error.is_data() { error_at.what } else { format!("not JSON: {}", error_at.what) };
    InputError::Json { place: Place::at(source, at), what, hint: None }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By `rustle-exec plan`.
    Printed,
    Plan,
    Parsed,
}

/// A file's JSON and where in the file it begins.
struct Text<'a> {
    source: Arc<str>,
    skipped_lines: usize,
    json: &'a str,
}

impl<'a> Text<'a> {
    fn new(name: &str, text: &'a str) -> Result<Text<'a>, InputError> {
        let source: Arc<str> = name.into();
        let mut skipped = 0;
        for (at, line) in text.split_inclusive('\n').enumerate() {
            if line.trim_start().starts_with('{') {
                return Ok(Text { source, skipped_lines: at, json: &text[skipped..] });
            }
            skipped += line.len();
        }
        let playbook = text.lines().map(str::trim).any(|line| line == "---" || line.starts_with("- "));
        let hint = match playbook {
            true => "a playbook is read from a file: rustle-exec -i hosts.ini site.yml",
            false => "a plan is what rustle-plan or rustle-parse prints",
        };
        let what = if text.trim().is_empty() {
            "empty, where a plan was expected"
        } else {
            "not JSON: no line begins with `{`"
        };
        Err(InputError::Json { place: Place::at(&source, Position::START), what: what.into(), hint: Some(hint.into()) })
    }

    fn kind(&self) -> Result<Kind, InputError> {
        let shape: Shape = self.parse()?;
        let plays = shape.plays.unwrap_or_default();
        let has = |wanted: fn(&PlayShape) -> bool| plays.iter().any(wanted);
        let planned = shape.metadata.is_some_and(|metadata| metadata.planning_options.is_some());
        if shape.rustle_exec.is_some() {
            Ok(Kind::Printed)
        } else if planned || has(|play| play.batches.is_some()) {
            Ok(Kind::Plan)
        } else if shape.inventory.is_some() || has(|play| play.tasks.is_some()) {
            Ok(Kind::Parsed)
        } else {
            let what = "JSON, but neither a plan of rustle-plan nor the output of rustle-parse".to_owned();
            let hint = Some("a plan has `plays` with `batches` in them".to_owned());
            Err(InputError::Json { place: Place::whole(Arc::clone(&self.source)), what, hint })
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        serde_json::from_str(self.json).map_err(|error| not_json(&self.source, self.skipped_lines, &error))
    }

    fn digest(&self) -> Result<String, InputError> {
        digest(self.json).map_err(|error| not_json(&self.source, self.skipped_lines, &error))
    }
}

/// As much of a file as tells what it is.
#[derive(Deserialize)]
struct Shape {
    rustle_exec: Option<IgnoredAny>,
    metadata: Option<MetadataShape>,
    inventory: Option<IgnoredAny>,
    plays: Option<Vec<PlayShape>>,
}

#[derive(Deserialize)]
struct MetadataShape {
    planning_options: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PlayShape {
    batches: Option<IgnoredAny>,
    tasks: Option<IgnoredAny>,
}

fn read(path: &Path) -> Result<String, InputError> {
    let failed = |source| InputError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    into_text(&path.display().to_string(), bytes)
}

fn into_text(name: &str, bytes: Vec<u8>) -> Result<String, InputError> {
    if bytes.len() as u64 > PLAN_BYTES_MAX {
        return Err(InputError::TooLarge { place: Place::whole(name), bytes_max: PLAN_BYTES_MAX });
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let at =
            Position::new(line, before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) + 1);
        InputError::Json { place: Place::at(&name.into(), at), what: "not UTF-8 text".into(), hint: None }
    })
}
