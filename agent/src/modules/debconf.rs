//! `debconf`: answers to the questions that Debian packages ask when they are installed.

use rustle_protocol::result::Diff;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::module::args::Choice;
use crate::module::{ArgError, Module, ModuleContext, ModuleError, shown};
use crate::process::Program;
use crate::{arguments, choices};

/// All answers in the database.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

arguments! {
    pub(crate) struct DebconfArgs {
        /// The package.
        name | "pkg": String,
        /// The question.
        question | "selection" | "setting": Option<String>,
        /// The answer.
        value | "answer": Option<Value>,
        /// What kind of answer.
        vtype: Option<Kind>,
        /// Do not mark the question as seen.
        unseen: bool = false,
    }
}

choices! {
    pub(crate) enum Kind {
        Boolean = "boolean", Error = "error", Multiselect = "multiselect", Note = "note", Password = "password",
        Seen = "seen", Select = "select", String = "string", Text = "text", Title = "title",
    }
}

pub(super) struct Debconf;

impl Module for Debconf {
    type Args = DebconfArgs;

    const NAME: &'static str = "ansible.builtin.debconf";
    const SUMMARY: &'static str = "Answers the questions of Debian packages.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn check_args(args: &DebconfArgs) -> Result<(), ArgError> {
        let given = [args.question.is_some(), args.vtype.is_some(), args.value.is_some()];
        match given {
            [true, true, true] | [false, false, false] => Ok(()),
            _ => Err(ArgError::Rule("parameters are required together: question, vtype, value".into())),
        }?;
        match (&args.value, args.vtype) {
            (Some(Value::List(items)), Some(Kind::Multiselect)) if items.iter().any(|item| item.as_str().is_none()) => {
                Err(ArgError::Rule("Invalid value provided for 'multiselect': every item must be a string".into()))
            }
            _ => Ok(()),
        }
    }

    fn run(&self, args: DebconfArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let before = answers(&args.name, cx)?;
        let (Some(question), Some(value), Some(kind)) = (&args.question, &args.value, args.vtype) else {
            return Ok(ModuleResult::ok().with("msg", "").with("current", before));
        };
        // A list says which are chosen; one text says it word for word, as it always has.
        let is_set = kind == Kind::Multiselect && matches!(value, Value::List(_));
        let value = wanted(value, kind);
        let existing = match (before.get(question.as_str()), kind) {
            // The program that tells it may not be there: it is asked for what there is alone.
            (Some(_), Kind::Password) => password(&args.name, question, cx)?,
            (answer, _) => answer.map(shown),
        };
        if existing.as_ref().is_some_and(|existing| is_same(existing, &value, is_set)) {
            return Ok(ModuleResult::ok().with("msg", "").with("current", before));
        }
        if !cx.check {
            set(&args, question, &value, kind, cx)?;
        }
        // Of a question that nobody asked yet all answers of the package are told, as in Ansible.
        let mut previous = before;
        if let Some(known) = previous.swap_remove(question.as_str()) {
            previous = Map::from([(question.clone(), known)]);
        } else {
            previous.insert(question.clone(), "".into());
        }
        let current = match kind {
            // What is secret is told to nobody.
            Kind::Password => "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER".into(),
            _ => Value::from(value),
        };
        let mut after = previous.clone();
        after.insert(question.clone(), current.clone());
        let diff = Diff { before: previous.clone().into(), after: after.into(), ..Diff::default() };
        Ok(ModuleResult::changed(true)
            .with("msg", "")
            .with("current", Map::from([(question.clone(), current)]))
            .with("previous", previous)
            .with_diff(if cx.diff { vec![diff] } else { Vec::new() }))
    }
}

/// The answer as debconf writes it: booleans in small letters, a list with commas.
fn wanted(value: &Value, kind: Kind) -> String {
    match value {
        Value::List(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Bool(value) => value.to_string(),
        other if kind == Kind::Boolean => match shown(other).to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" | "true" => "true".to_owned(),
            "no" | "off" | "0" | "false" => "false".to_owned(),
            other => other.to_owned(),
        },
        other => shown(other),
    }
}

fn is_same(existing: &str, wanted: &str, is_set: bool) -> bool {
    let parts = |text: &str| {
        let mut parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    if is_set { parts(existing) == parts(wanted) } else { existing == wanted }
}

/// The answers of a package: `* question: answer`, the star if somebody has seen it.
fn answers(package: &str, cx: &ModuleContext<'_>) -> Result<Map, ModuleError> {
    let ended = Program::new("debconf-show").arg(package).plain().run_checked(cx)?;
    let lines = ended.stdout.text();
    let answers = lines.lines().filter_map(|line| line.split_once(':'));
    Ok(answers.map(|(question, answer)| (question.trim_matches(['*', ' ']).to_owned(), answer.trim().into())).collect())
}

/// `debconf-show` hides passwords.
fn password(package: &str, question: &str, cx: &ModuleContext<'_>) -> Result<Option<String>, ModuleError> {
    let ended = Program::new("debconf-get-selections").plain().keep(OUTPUT_BYTES_MAX).run_checked(cx)?;
    let text = ended.stdout.text();
    let found = text.lines().find_map(|line| {
        let mut fields = line.splitn(4, '\t');
        let is_it = fields.next() == Some(package) && fields.next() == Some(question);
        fields.nth(1).filter(|_| is_it).map(str::to_owned)
    });
    Ok(found)
}

/// The answer goes by standard input: it may be a password.
fn set(args: &DebconfArgs, question: &str, value: &str, kind: Kind, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let unseen = args.unseen.then_some("-u");
    let line = format!("{} {question} {} {value}\n", args.name, kind.spelling());
    let program = Program::new("debconf-set-selections").args(unseen).plain().stdin(line);
    program.run_checked(cx).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    /// A debconf with two answers, which writes down what it is told.
    fn run(args: serde_json::Value, check: bool) -> (ModuleResult, String) {
        run_with(args, check, "printf 'tz\\ttz/secret\\tpassword\\told one\\n'")
    }

    fn run_with(args: serde_json::Value, check: bool, selections: &str) -> (ModuleResult, String) {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, body: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        put("debconf-show", "echo '* tz/Areas: Europe'; echo '  tz/use: a, b'; echo '* tz/secret: (password omitted)'");
        put("debconf-get-selections", selections);
        put("debconf-set-selections", &format!("cat > {}/told; echo $1 >> {0}/told", dir.path().display()));
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let mut surroundings = Surroundings::new().with_env("PATH", &path);
        (surroundings.check, surroundings.diff) = (check, true);
        let args: DebconfArgs = parse("x", Value::from(args).as_map().unwrap().clone()).unwrap();
        let result = Debconf.run(args, &surroundings.context()).unwrap_or_else(ModuleError::into_result);
        (result, std::fs::read_to_string(dir.path().join("told")).unwrap_or_default())
    }

    #[test]
    fn without_a_question_the_answers_are_returned() {
        let (result, told) = run(json!({"name": "tz"}), false);
        assert_eq!(
            result.get("current").unwrap().to_json(),
            r#"{"tz/Areas":"Europe","tz/use":"a, b","tz/secret":"(password omitted)"}"#
        );
        assert!(!result.changed && told.is_empty());
    }

    #[test]
    fn an_answer_is_given_unless_it_is_there() {
        let args = |value: &str| json!({"name": "tz", "question": "tz/Areas", "vtype": "select", "value": value});
        let (result, told) = run(args("Asia"), false);
        assert!(result.changed && told.starts_with("tz tz/Areas select Asia\n"), "{result:?} {told}");
        assert_eq!(result.get("previous").unwrap().to_json(), r#"{"tz/Areas":"Europe"}"#);
        assert_eq!(result.get("current").unwrap().to_json(), r#"{"tz/Areas":"Asia"}"#);
        assert_eq!(result.diff[0].before.to_json(), r#"{"tz/Areas":"Europe"}"#);
        assert_eq!(result.diff[0].after.to_json(), r#"{"tz/Areas":"Asia"}"#);
        let unknown = json!({"name": "tz", "question": "tz/new", "vtype": "select", "value": "x"});
        let previous = r#"{"tz/Areas":"Europe","tz/use":"a, b","tz/secret":"(password omitted)","tz/new":""}"#;
        assert_eq!(run(unknown, false).0.get("previous").unwrap().to_json(), previous);
        let (result, told) = run(args("Europe"), false);
        assert!(!result.changed && told.is_empty());
        let (result, told) = run(args("Asia"), true);
        assert!(result.changed && told.is_empty(), "check mode gives no answer");
    }

    #[test]
    fn kinds_are_compared_by_what_they_mean() {
        let args = json!({"name": "tz", "question": "tz/use", "vtype": "multiselect", "value": ["b", "a"]});
        assert!(!run(args, false).0.changed);
        let (_, told) =
            run(json!({"name": "tz", "question": "q", "vtype": "boolean", "value": true, "unseen": true}), false);
        assert_eq!(told, "tz q boolean true\n-u\n");
    }

    #[test]
    fn a_password_is_compared_and_not_told() {
        let args = |value: &str| json!({"name": "tz", "question": "tz/secret", "vtype": "password", "value": value});
        assert!(!run(args("old one"), false).0.changed);
        let (result, told) = run(args("new one"), false);
        assert!(result.changed && told.contains("new one"));
        assert!(!format!("{result:?}").contains("new one"));
        let args = json!({"name": "tz", "question": "tz/second", "vtype": "password", "value": "x"});
        let (result, told) = run_with(args, false, "exit 127");
        assert!(result.changed && told.contains("second"), "nothing is looked up that is not there: {result:?}");
    }

    #[test]
    fn a_question_needs_an_answer() {
        let args: DebconfArgs =
            parse("x", Value::from(json!({"name": "a", "question": "q"})).as_map().unwrap().clone()).unwrap();
        let error = Debconf::check_args(&args).unwrap_err().to_string();
        assert_eq!(error, "parameters are required together: question, vtype, value");
    }
}
