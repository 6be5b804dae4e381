//! `template`: renders a file here with the host's variables, and has the agent put the text in place as `copy` does.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::arguments;
use rustle_agent::encoding::Encoding;
use rustle_agent::module::{ArgError, ArgSpec, ModuleArgs, args};
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::agent_module;
use super::sender::Sender;
use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::fault::Fault;
use crate::origin::Origin;
use crate::template::{TemplateFileOptions, file_vars};

arguments! {
    /// What only `template` has; the rest is `copy`'s.
    pub(super) struct TemplateArgs {
        /// The template, beside the plan or in `templates/` there.
        src: String,
        /// What ends a line in the file: `\n`, `\r` or `\r\n`.
        newline_sequence: String = "\n".into(),
        /// What begins a statement.
        block_start_string: String = "{%".into(),
        /// What ends a statement.
        block_end_string: String = "%}".into(),
        /// What begins an expression.
        variable_start_string: String = "{{".into(),
        /// What ends an expression.
        variable_end_string: String = "}}".into(),
        /// What begins a comment.
        comment_start_string: String = "{#".into(),
        /// What ends a comment.
        comment_end_string: String = "#}".into(),
        /// Drop the line break after a statement.
        trim_blocks: bool = true,
        /// Drop blanks before a statement that begins a line.
        lstrip_blocks: bool = false,
        /// Encoding of the file, as Python calls it: UTF-8, UTF-16, UTF-32, ASCII or Latin-1.
        output_encoding: String = "utf-8".into(),
    }
}

/// Arguments that go on to `copy`.
const FOR_COPY: &[&str] = &[
    "dest",
    "backup",
    "force",
    "mode",
    "owner",
    "group",
    "attributes",
    "attr",
    "follow",
    "validate",
    "unsafe_writes",
    "seuser",
    "serole",
    "setype",
    "selevel",
];

pub(super) struct Template;

impl ModuleExecutor for Template {
    fn name(&self) -> &str {
        "ansible.builtin.template"
    }

    fn summary(&self) -> &str {
        "Renders a template on the controller and puts the text into a file on the host."
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        true
    }

    fn is_idempotent(&self) -> bool {
        agent_module("copy").is_idempotent()
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        // Its own first: `src` is required here and not in `copy`.
        static GROUPS: std::sync::LazyLock<Vec<&'static [ArgSpec]>> = std::sync::LazyLock::new(|| {
            TemplateArgs::GROUPS.iter().chain(agent_module("copy").arg_groups()).copied().collect()
        });
        &GROUPS
    }

    fn refuses_as<'n>(&'n self, _written: &'n str) -> &'n str {
        "ansible.legacy.copy"
    }

    fn lists_diffs(&self) -> bool {
        true
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        super::src_and_dest(args)?;
        split(args.clone()).map(drop)
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match split(args)
                .map_err(|error| Fault::from(error.to_string()))
                .and_then(|(args, copy)| prepare(args, copy, cx))
            {
                Ok(copy) => cx.call("ansible.builtin.copy", copy).await,
                Err(fault) => Ok(cx.failed_before_work(fault)),
            }
        }
        .boxed()
    }
}

/// The template's own arguments, and those for `copy`, which is what refuses any other.
fn split(mut all: Map) -> Result<(TemplateArgs, Map), ArgError> {
    let mut copy = Map::new();
    for name in FOR_COPY {
        if let Some(value) = all.shift_remove(*name) {
            copy.insert((*name).to_owned(), value);
        }
    }
    if !copy.contains_key("dest") {
        return Err(ArgError::Missing(vec!["dest".to_owned()]));
    }
    if all.contains_key("state") {
        return Err(ArgError::Rule("'state' cannot be specified on a template".to_owned()));
    }
    let groups = agent_module("copy").arg_groups();
    args::parse("template", all).map(|args| (args, copy)).map_err(|error| match error {
        ArgError::Unknown { unknown, .. } => args::unknown_args("copy", unknown, groups),
        other => other,
    })
}

fn prepare(args: TemplateArgs, mut copy: Map, cx: &ExecutionContext<'_>) -> Result<Map, Fault> {
    let path = cx.files.find(&args.src, "templates").map_err(|error| error.to_string())?;
    let source = Sender::new(&copy, cx).read(&path).map_err(|why| Fault::from(why).of_task())?;
    let source = String::from_utf8(source).map_err(|_| format!("cannot read {}: it is not UTF-8", path.display()))?;
    let text = cx
        .templar
        .render_file(
            &source,
            &path.to_string_lossy(),
            &options(&args, &path, cx),
            &cx.scope.with(file_vars(&path, copy.get("dest"), cx.scope)),
        )
        .map_err(|error| Fault::from(error.at(Some(&Arc::new(Origin::whole(&path))))).of_task())?;
    if copy.get("mode").is_some_and(|mode| mode.as_str() == Some("preserve")) {
        copy.insert("mode".into(), super::copy::mode_of(&path)?.into());
    }
    let name = Path::new(&args.src).file_name().map(|name| name.to_string_lossy().into_owned());
    copy.insert("_original_basename".into(), name.into());
    let encoding = Encoding::named(&args.output_encoding);
    let content = encoding.and_then(|encoding| encoding.encode(&text)).map_err(|why| Fault::from(why).of_task())?;
    super::copy::put_content(&mut copy, content, cx.blobs);
    Ok(copy)
}

/// What ends a line may be written with a backslash, as in YAML's single quotes.
fn unescaped(newline: &str) -> &str {
    match newline {
        r"\n" => "\n",
        r"\r" => "\r",
        r"\r\n" => "\r\n",
        other => other,
    }
}

fn options(args: &TemplateArgs, path: &Path, cx: &ExecutionContext<'_>) -> TemplateFileOptions {
    TemplateFileOptions {
        newline_sequence: unescaped(&args.newline_sequence).to_owned(),
        block_start_string: args.block_start_string.clone(),
        block_end_string: args.block_end_string.clone(),
        variable_start_string: args.variable_start_string.clone(),
        variable_end_string: args.variable_end_string.clone(),
        comment_start_string: args.comment_start_string.clone(),
        comment_end_string: args.comment_end_string.clone(),
        trim_blocks: args.trim_blocks,
        lstrip_blocks: args.lstrip_blocks,
        search_directories: cx.files.template_folders(path),
        ..TemplateFileOptions::default()
    }
}
