//! `rustle.builtin.program`: a custom module that is a program or a script of its own. Plans do not name it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::module::{BlobRef, Doing, Module, ModuleContext, ModuleError};
use crate::process::{Program as Process, without_starts};
use crate::script_module::{self, JSON_ARGS};
use crate::{arguments, choices, workdir};

choices! {
    /// How the program takes its arguments.
    pub(crate) enum Style {
        /// The path of a JSON file.
        Json = "json",
        /// The path of a file of `name=value` words.
        KeyValue = "key_value",
        /// In its own text.
        Embedded = "embedded",
    }
}

arguments! {
    pub(crate) struct ProgramArgs {
        /// The program.
        _blob: BlobRef,
        /// Its file name.
        _original_basename: String,
        /// How it takes its arguments.
        _style: Style = Style::Json,
        /// What runs it, with options; itself if empty.
        _interpreter: Vec<String> = Vec::new(),
        /// It runs with this host's Python.
        _python: bool = false,
        /// The task's arguments and Ansible's internal ones.
        args: Map,
        /// The same as words.
        _args_text: String = String::new(),
    }
}

pub(super) struct Program;

impl Module for Program {
    type Args = ProgramArgs;

    const NAME: &'static str = "rustle.builtin.program";
    const SUMMARY: &'static str = "Runs a custom module that the controller sent.";
    const IDEMPOTENT: bool = false;

    fn run(&self, args: ProgramArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let discovered = if args._python { Some(script_module::discovered_python(cx)?) } else { None };
        let dir = workdir::private()?;
        let mut module_args = args.args;
        module_args.insert("_ansible_tmpdir".into(), dir.path().display().to_string().into());
        let json = Value::Map(module_args).to_json();
        let mut content = Vec::new();
        cx.blobs.open(args._blob.id)?.read_to_end(&mut content).doing(|| "read the module".to_owned())?;
        let name = Path::new(&args._original_basename).file_name().unwrap_or("module".as_ref());
        let path = dir.path().join(name);
        let mut words: Vec<String> = discovered.iter().cloned().chain(args._interpreter).collect();
        words.push(path.display().to_string());
        if args._style == Style::Embedded {
            content = with_arguments(&content, json.as_bytes());
        } else {
            let text = if args._style == Style::Json { json } else { args._args_text };
            let file = dir.path().join("args");
            write_private(&file, 0o600, text.as_bytes())?;
            words.push(file.display().to_string());
        }
        without_starts(|| write_private(&path, 0o700, &content))?;
        let program = Process::new(words.remove(0)).args(words);
        let mut result = script_module::run_program(&program, cx)?;
        if let Some(interpreter) = discovered {
            script_module::tell_discovered(&mut result, &interpreter);
        }
        Ok(result)
    }
}

fn write_private(path: &Path, mode: u32, content: &[u8]) -> Result<(), ModuleError> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, content))
        .doing(|| format!("write {}", path.display()))
}

/// `content` with the arguments at every place that is marked for them.
fn with_arguments(content: &[u8], json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + json.len());
    let mut rest = content;
    while let Some(at) = rest.windows(JSON_ARGS.len()).position(|window| window == JSON_ARGS) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(json);
        rest = &rest[at + JSON_ARGS.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::NoBlobs;
    use crate::module::testing::{TestBlobs, run_with, with};
    use serde_json::json;

    fn run_body(body: &str, args: serde_json::Value) -> ModuleResult {
        let mut blobs = TestBlobs::default();
        let blob = blobs.add(body.as_bytes()).to_value();
        run_with(&Program, with(args, "_blob", blob), false, &blobs)
    }

    #[test]
    fn a_program_reads_its_arguments_from_a_private_file_and_prints_its_result() {
        let body =
            "#!/bin/sh\nprintf '{\"changed\": true, \"got\": %s, \"mode\": \"%s\"}' \"$(cat $1)\" \"$(stat -c %a $1)\"";
        let result = run_body(body, json!({"_original_basename": "m", "args": {"name": "x"}}));
        assert!(result.changed && !result.failed, "{result:?}");
        let got = result.get("got").unwrap().as_map().unwrap();
        assert_eq!(got["name"].as_str(), Some("x"));
        assert!(got["_ansible_tmpdir"].as_str().is_some());
        assert_eq!(result.get("mode").unwrap().as_str(), Some("600"));
    }

    #[test]
    fn a_script_of_old_reads_words_and_runs_with_the_interpreter_named() {
        let body = "#!/no/such/interpreter\nprintf '{\"got\": \"%s\"}' \"$(cat $1)\"";
        let args = json!({"_original_basename": "m", "_style": "key_value", "_interpreter": ["/bin/sh"], "args": {},
            "_args_text": "name=x other='a b' "});
        let result = run_body(body, args);
        assert_eq!(result.get("got").unwrap().as_str(), Some("name=x other='a b' "), "{result:?}");
    }

    #[test]
    fn arguments_are_put_where_the_text_is_marked_for_them() {
        let body = "#!/bin/sh\ncat <<'END'\n{\"got\": <<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>}\nEND\n";
        let args = json!({"_original_basename": "m", "_style": "embedded", "args": {"name": "it's"}});
        let result = run_body(body, args);
        assert_eq!(result.get("got").unwrap().as_map().unwrap()["name"].as_str(), Some("it's"), "{result:?}");
    }

    #[test]
    fn nothing_runs_without_its_content() {
        let blob = TestBlobs::default().add(b"x").to_value();
        let args = with(json!({"_original_basename": "m", "args": {}}), "_blob", blob);
        let result = run_with(&Program, args, false, &NoBlobs);
        assert!(result.failed && result.msg().contains("sent no files"), "{}", result.msg());
    }
}
