//! `validate`: a command of the host's own that says whether a file about to be put in place is any good.

use std::path::Path;

use super::tool::{self, ToolOutput};
use crate::module::{ModuleContext, ModuleError};

/// Runs `command` with the file's path for its `%s`, without a shell, and gives back what it said.
///
/// # Errors
/// There is no `%s`, a quotation does not end, or the command cannot be started.
pub(crate) fn run(command: &str, file: &Path, cx: &ModuleContext<'_>) -> Result<ToolOutput, ModuleError> {
    if !command.contains("%s") {
        return Err(ModuleError::new(format!("validate must contain %s: {command}")));
    }
    let words = words(command)
        .ok_or_else(|| ModuleError::new(format!("validate has a quotation that does not end: {command}")))?;
    let path = file.to_string_lossy();
    let words: Vec<String> = words.iter().map(|word| word.replace("%s", &path).replace("%%", "%")).collect();
    tool::run(&words, cx.environment, cx.cancel)
}

/// Splits a command line as a shell would, expanding nothing.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words(r#"visudo -cf '%s' "a b" c\ d ''"#).unwrap(), ["visudo", "-cf", "%s", "a b", "c d", ""]);
        assert_eq!(words("a 'b"), None);
    }
}
