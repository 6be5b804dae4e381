//! Template files: always text, with delimiters of their own and files beside them to include.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;

use super::engine::{self, file_key, printed, with_newlines};
use super::error::TemplateError;
use super::explain;
use super::rewrite::Delimiters;
use super::templar::{Templar, with_last_newlines};
use crate::vars::Scope;

/// How a template file is read: the arguments of the `template` module, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateFileOptions {
    /// Ends each line of the file's own text. Default `\n`.
    pub newline_sequence: String,
    pub block_start_string: String,
    pub block_end_string: String,
    pub variable_start_string: String,
    pub variable_end_string: String,
    pub comment_start_string: String,
    pub comment_end_string: String,
    /// What a line begins with that is a statement as a whole. Default none.
    pub line_statement_prefix: Option<String>,
    /// What the rest of a line is a comment after. Default none.
    pub line_comment_prefix: Option<String>,
    /// Drops the newline after a block. Default true.
    pub trim_blocks: bool,
    /// Drops blanks before a block at the start of a line. Default false.
    pub lstrip_blocks: bool,
    /// Where `include`, `import` and `extends` look for files, in this order. Default nowhere.
    pub search_directories: Vec<PathBuf>,
}

impl Default for TemplateFileOptions {
    fn default() -> TemplateFileOptions {
        TemplateFileOptions {
            newline_sequence: "\n".to_owned(),
            block_start_string: "{%".to_owned(),
            block_end_string: "%}".to_owned(),
            variable_start_string: "{{".to_owned(),
            variable_end_string: "}}".to_owned(),
            comment_start_string: "{#".to_owned(),
            comment_end_string: "#}".to_owned(),
            line_statement_prefix: None,
            line_comment_prefix: None,
            trim_blocks: true,
            lstrip_blocks: false,
            search_directories: Vec::new(),
        }
    }
}

impl TemplateFileOptions {
    fn delimiters(&self) -> Delimiters {
        Delimiters {
            block: (self.block_start_string.clone(), self.block_end_string.clone()),
            variable: (self.variable_start_string.clone(), self.variable_end_string.clone()),
            comment: (self.comment_start_string.clone(), self.comment_end_string.clone()),
            line: self.line_statement_prefix.clone(),
            line_comment: self.line_comment_prefix.clone(),
        }
    }

    /// Whether a text has anything in it that a template has: what has nothing is written as it is.
    fn may_be_template(&self, text: &str) -> bool {
        let starts = [&self.block_start_string, &self.variable_start_string, &self.comment_start_string];
        let lines = [&self.line_statement_prefix, &self.line_comment_prefix];
        starts.into_iter().chain(lines.into_iter().flatten()).any(|start| text.contains(&**start))
    }
}

/// One engine for each way to read files, and how many plug-ins it has been taught. A play uses one or two.
pub(super) type FileEngines = HashMap<TemplateFileOptions, (usize, Arc<Environment<'static>>)>;

impl Templar {
    /// Renders a template file's text; `name` is what messages call it. A first line `#jinja2: trim_blocks: False, ...`
    /// changes the options and is no part of the text. Each text is compiled once per set of options.
    ///
    /// # Errors
    /// See [`TemplateError`]; [`TemplateError::Failed`] also for delimiters that cannot be told apart and for a file to
    /// include that is not there.
    pub fn render_file(
        &self,
        source: &str,
        name: &str,
        options: &TemplateFileOptions,
        scope: &Scope,
    ) -> Result<String, TemplateError> {
        let has_header = source.starts_with(HEADER);
        let (options, source) = with_header(source, options)?;
        if !NEWLINES.contains(&&*options.newline_sequence) {
            return Err(TemplateError::failed("newline_sequence needs to be one of: \n, \r or \r\n"));
        }
        if !has_header && !options.may_be_template(source) {
            return Ok(match &*options.newline_sequence {
                "\n" => source.to_owned(),
                other => with_newlines(source, other),
            });
        }
        let source = with_newlines(source, &options.newline_sequence);
        let key = file_key(name, &source);
        self.plugged()
            .render(|| {
                let engine = self.file_engine(&options)?;
                let (output, printed) = printed(&engine, &key, scope)?;
                // A single value that is no text is all there is, without a last newline.
                if printed.is_value(&output) {
                    return Ok(output);
                }
                Ok(with_last_newlines(output, &source, &options.newline_sequence, printed.count > 0))
            })
            .map_err(|error| explain::explain(error, &key, Some(scope)))
    }

    fn file_engine(&self, options: &TemplateFileOptions) -> Result<Arc<Environment<'static>>, TemplateError> {
        let mut engines = self.files().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = self.plugged().len();
        if let Some((_, engine)) = engines.get(options).filter(|(taught, _)| *taught == known) {
            return Ok(Arc::clone(engine));
        }
        let mut env = engine::environment();
        let taught = self.plugged().teach(&mut env);
        env.set_syntax(syntax(options)?);
        engine::set_loader(&mut env, options.search_directories.clone(), options.delimiters());
        let engine = Arc::new(env);
        engines.insert(options.clone(), (taught, Arc::clone(&engine)));
        Ok(engine)
    }
}

/// What may end a line of a file.
const NEWLINES: &[&str] = &["\n", "\r", "\r\n"];

const HEADER: &str = "#jinja2:";

/// The options that a template's own first line makes of the given ones, and the text after it.
fn with_header<'s>(
    source: &'s str,
    options: &TemplateFileOptions,
) -> Result<(TemplateFileOptions, &'s str), TemplateError> {
    let mut options = options.clone();
    let Some(rest) = source.strip_prefix(HEADER) else { return Ok((options, source)) };
    let wrong = |what: String| TemplateError::failed(format!("Syntax error in template: {what}"));
    let (header, text) =
        rest.split_once('\n').ok_or_else(|| wrong(format!("Missing newline after '{HEADER}' override.")))?;
    for pair in header.trim_end().split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair
            .split_once(':')
            .ok_or_else(|| wrong(format!("Missing key-value separator `:` in '{HEADER}' override pair '{pair}'.")))?;
        let (name, value) = (name.trim(), value.trim());
        let text = || value.trim_matches(['\'', '"']).replace("\\n", "\n").replace("\\r", "\r");
        let flag = || match value {
            "True" | "true" => Ok(true),
            "False" | "false" => Ok(false),
            _ => Err(wrong(format!("'{name}' is neither True nor False in '{HEADER}' override pair '{pair}'."))),
        };
        match name {
            "trim_blocks" => options.trim_blocks = flag()?,
            "lstrip_blocks" => options.lstrip_blocks = flag()?,
            // Newlines at the end are always kept, whatever it says.
            "keep_trailing_newline" => drop(flag()?),
            "newline_sequence" => options.newline_sequence = text(),
            "block_start_string" => options.block_start_string = text(),
            "block_end_string" => options.block_end_string = text(),
            "variable_start_string" => options.variable_start_string = text(),
            "variable_end_string" => options.variable_end_string = text(),
            "comment_start_string" => options.comment_start_string = text(),
            "comment_end_string" => options.comment_end_string = text(),
            "line_statement_prefix" => options.line_statement_prefix = Some(text()).filter(|text| !text.is_empty()),
            "line_comment_prefix" => options.line_comment_prefix = Some(text()).filter(|text| !text.is_empty()),
            other => return Err(wrong(format!("Invalid '{HEADER}' override key '{other}'."))),
        }
    }
    Ok((options, text))
}

fn syntax(options: &TemplateFileOptions) -> Result<SyntaxConfig, TemplateError> {
    SyntaxConfig::builder()
        .line_statement_prefix(options.line_statement_prefix.clone().unwrap_or_default())
        .block_delimiters(options.block_start_string.clone(), options.block_end_string.clone())
        .variable_delimiters(options.variable_start_string.clone(), options.variable_end_string.clone())
        .comment_delimiters(options.comment_start_string.clone(), options.comment_end_string.clone())
        .trim_blocks(options.trim_blocks)
        .lstrip_blocks(options.lstrip_blocks)
        .build()
        .map_err(|error| TemplateError::failed(format!("the template's delimiters cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ends_as_newline_sequence_says() {
        let templar = Templar::new();
        let render = |newline: &str, header: &str| {
            let options =
                TemplateFileOptions { newline_sequence: newline.to_owned(), ..TemplateFileOptions::default() };
            templar.render_file(&format!("{header}a\r\n{{{{ 1 }}}}\n"), "t.j2", &options, &Scope::of(&templar, []))
        };
        for newline in ["\n", "\r", "\r\n"] {
            assert_eq!(render(newline, "").unwrap(), format!("a{newline}1{newline}"));
        }
        assert!(render("", "").is_err() && render("\n", "#jinja2: newline_sequence: ''\n").is_err());
    }

    #[test]
    fn what_is_wrong_in_an_included_file_is_told_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let templar = Templar::new();
        let options = TemplateFileOptions {
            search_directories: vec![folder.path().to_owned()],
            ..TemplateFileOptions::default()
        };
        for (name, included, told) in [
            ("lost.j2", "line\n{{ zip.zap }}\n", "'zip' is undefined"),
            ("odd.j2", "line\n{{ 1 | nope }}\n", "Syntax error in template: No filter named 'nope'."),
        ] {
            std::fs::write(folder.path().join(name), included).unwrap();
            let outer = format!("outer\n{{% include '{name}' %}}\n");
            let error = templar.render_file(&outer, "outer.j2", &options, &Scope::of(&templar, [])).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}
