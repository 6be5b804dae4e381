//! What a Python file imports, read without running it.
//!
//! Only names matter here, so this knows just as much Python as it takes not to be fooled: strings, comments, lines that go
//! on in brackets or after a backslash.

/// One imported name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// `["ansible", "module_utils", "basic", "AnsibleModule"]`: a module, or something in one.
    pub(super) path: Vec<String>,
    /// Whether the file can do nothing without it: imports inside `try`, `if` or a function may fail.
    pub(super) required: bool,
}

/// Every import of `source`, in order. `module` is the file's own dotted name, which relative imports start from;
/// `is_package` if the file is an `__init__.py`.
pub(super) fn imports(source: &str, module: &[String], is_package: bool) -> Vec<Import> {
    let package = if is_package { module } else { &module[..module.len().saturating_sub(1)] };
    let mut found = Vec::new();
    for line in logical_lines(source) {
        let required = !line.starts_with([' ', '\t']);
        for statement in line.split(';') {
            let words = statement.trim();
            if let Some(names) = words.strip_prefix("import ") {
                found.extend(names.split(',').filter_map(dotted).map(|path| Import { path, required }));
            } else if let Some((base, names)) = words.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
            {
                let Some(base) = absolute(base.trim(), package) else { continue };
                for name in names.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')').split(',') {
                    let Some(name) = dotted(name) else { continue };
                    let name = if name == ["*"] { Vec::new() } else { name };
                    found.push(Import { path: base.iter().cloned().chain(name).collect(), required });
                }
            }
        }
    }
    found
}

/// `a.b` of `a.b as c`.
fn dotted(text: &str) -> Option<Vec<String>> {
    let name = text.split_whitespace().next()?.trim_matches(['(', ')']);
    (!name.is_empty()).then(|| name.split('.').map(str::to_owned).collect())
}

/// What `..a.b` means in `package`; a name without dots before it is absolute.
fn absolute(base: &str, package: &[String]) -> Option<Vec<String>> {
    let rest = base.trim_start_matches('.');
    let level = base.len() - rest.len();
    let rest = rest.split('.').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    if level == 0 {
        return Some(rest.collect());
    }
    let kept = package.len().checked_sub(level - 1)?;
    Some(package[..kept].iter().cloned().chain(rest).collect())
}

/// Lines of code, each whole: strings are emptied, comments gone, continued lines joined.
fn logical_lines(source: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut depth = 0_usize;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\'' | '"' => after_string(rest, c),
            '#' => &rest[rest.find('\n').unwrap_or(rest.len())..],
            '\\' if after.starts_with('\n') => {
                line.push(' ');
                &after[1..]
            }
            '\n' if depth == 0 => {
                lines.push(std::mem::take(&mut line));
                after
            }
            _ => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                line.push(if c == '\n' { ' ' } else { c });
                after
            }
        };
    }
    lines.push(line);
    lines
}

/// What follows the string that `text` begins with. One that does not end takes its line, or everything.
fn after_string(text: &str, quote: char) -> &str {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let is_long = text.starts_with(&triple);
    let mut at = if is_long { 3 } else { 1 };
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\\' => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ if is_long && text[at..].starts_with(&triple) => return &text[at + 3..],
            '\n' if !is_long => return &text[at..],
            c if !is_long && c == quote => return &text[at + 1..],
            c => at += c.len_utf8(),
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn found(source: &str) -> Vec<(String, bool)> {
        let module = words("ansible_collections.a.b.plugins.modules.m");
        let found = imports(source, &module, false);
        found.into_iter().map(|import| (import.path.join("."), import.required)).collect()
    }

    fn required(source: &str) -> Vec<String> {
        found(source).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn every_form_of_an_import_is_found() {
        assert_eq!(required("import os, ansible.module_utils.urls as u\n"), ["os", "ansible.module_utils.urls"]);
        assert_eq!(
            required("from ansible.module_utils.basic import (  # why\n    AnsibleModule,\n    env as e,\n)\n"),
            ["ansible.module_utils.basic.AnsibleModule", "ansible.module_utils.basic.env"]
        );
        assert_eq!(required("from a.b import *"), ["a.b"]);
        assert_eq!(required("import a; from b import c"), ["a", "b.c"]);
        assert_eq!(required("from a \\\n import b"), ["a.b"]);
    }

    #[test]
    fn relative_imports_start_from_the_files_package() {
        assert_eq!(required("from . import x"), ["ansible_collections.a.b.plugins.modules.x"]);
        assert_eq!(required("from ..module_utils.x import y"), ["ansible_collections.a.b.plugins.module_utils.x.y"]);
        assert_eq!(required("from ........ import x"), Vec::<String>::new());
        let package = imports("from .x import y", &words("a.b"), true);
        assert_eq!(package[0].path, ["a", "b", "x", "y"]);
    }

    #[test]
    fn what_stands_inside_something_may_fail() {
        assert_eq!(
            found("try:\n    import a\nexcept ImportError:\n    pass\nimport b\n"),
            [("a".to_owned(), false), ("b".to_owned(), true)]
        );
    }

    #[test]
    fn strings_and_comments_import_nothing() {
        let source = "'''\nimport a\n'''\n# import b\nx = 'it\\'s' \"\"\"\nimport c \"\"\"\ny = '''\\''' import d'''\nimport e\n";
        assert_eq!(required(source), ["e"]);
    }
}
