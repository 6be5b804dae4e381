//! `template`: a template file's text, rendered.

use std::path::Path;

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use super::files::read_file;
use crate::template::convert::failed;
use crate::template::filters::json::data;
use crate::template::filters::params::entries;
use crate::template::{TemplateFileOptions, file_vars, python};
use crate::vars::Variable;

pub(super) fn template(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    call.texts().iter().map(|name| render(call, name)).collect()
}

fn render(call: &Call<'_>, name: &str) -> Result<Value, Error> {
    let path = call
        .find(name, "templates")
        .ok_or_else(|| failed(format!("the template file {name} could not be found for the lookup")))?;
    let scope = call.scope()?;
    let mut vars = file_vars(&path, None, scope);
    for (name, value) in call.params.get("template_vars").map(entries).transpose()?.unwrap_or_default() {
        vars.insert(python::text(&name), Variable::data(data(&value)?));
    }
    let scope = &scope.with(vars);
    let defaults = TemplateFileOptions::default();
    // Files to include lie beside the template, and wherever templates are looked for.
    let beside = path.parent().map(Path::to_path_buf).into_iter();
    let anywhere = call.directories().into_iter().flat_map(|folder| [folder.join("templates"), folder]);
    let options = TemplateFileOptions {
        variable_start_string: call.params.text("variable_start_string", &defaults.variable_start_string),
        variable_end_string: call.params.text("variable_end_string", &defaults.variable_end_string),
        trim_blocks: call.params.flag("trim_blocks", true),
        lstrip_blocks: call.params.flag("lstrip_blocks", false),
        comment_start_string: call.params.text("comment_start_string", &defaults.comment_start_string),
        comment_end_string: call.params.text("comment_end_string", &defaults.comment_end_string),
        search_directories: beside.chain(anywhere).collect(),
        ..defaults
    };
    let text = scope.templar().render_file(&read_file(&path, call)?, name, &options, scope)?;
    Ok(if text.is_empty() { Value::from(()) } else { Value::from(text) })
}
