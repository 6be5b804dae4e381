//! `template`: a template file's text, rendered.

use std::path::Path;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use super::files::read_file;
use crate::template::convert::failed;
use crate::template::filters::json::data;
use crate::template::filters::params::entries;
use crate::template::{TemplateFileOptions, file_vars, python};
use crate::vars::Variable;

pub(super) fn template(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    call.terms.iter().map(|name| render(call, name)).collect()
}

fn render(call: &Call<'_>, term: &Value) -> Result<Value, Error> {
    let name = &python::text(term);
    let path = call
        .find(term, "templates")?
        .ok_or_else(|| failed(format!("the template file {name} could not be found for the lookup")))?;
    let scope = call.scope()?;
    let mut vars = file_vars(&path, None, scope);
    let own = match call.option("template_vars") {
        Some(own) if own.kind() != ValueKind::Map => return Err(call.invalid("template_vars", "dict", own)),
        own => own.map(entries).transpose()?.unwrap_or_default(),
    };
    for (name, value) in own {
        vars.insert(python::text(&name), Variable::data(data(&value)?));
    }
    let scope = &scope.with(vars);
    let defaults = TemplateFileOptions::default();
    // Files to include lie beside the template, and wherever templates are looked for.
    let beside = path.parent().map(Path::to_path_buf).into_iter();
    let anywhere = call.directories().into_iter().flat_map(|folder| [folder.join("templates"), folder]);
    let options = TemplateFileOptions {
        variable_start_string: call.text("variable_start_string", &defaults.variable_start_string),
        variable_end_string: call.text("variable_end_string", &defaults.variable_end_string),
        trim_blocks: call.flag("trim_blocks", true),
        lstrip_blocks: call.flag("lstrip_blocks", false),
        comment_start_string: call.text("comment_start_string", &defaults.comment_start_string),
        comment_end_string: call.text("comment_end_string", &defaults.comment_end_string),
        search_directories: beside.chain(anywhere).collect(),
        ..defaults
    };
    let source = read_file(&path, call)?;
    let text = scope.templar().render_file(&source, name, &options, scope)?;
    // As in Ansible what says nothing at all is none; an expression says something, if it is nothing but empty text.
    let says_nothing = text.is_empty() && !source.is_empty() && !source.contains(&options.variable_start_string);
    Ok(if says_nothing { Value::from(()) } else { Value::from(text) })
}
