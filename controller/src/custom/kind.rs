//! What kind of module a file is. Its content decides, by the marks that Ansible documents for modules.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// How a module takes its arguments, and what runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A program of its own: its one argument is the path of a JSON file.
    Binary,
    /// Imports `ansible.module_utils`, and runs with those it imports around it.
    Python,
    /// A script that says `WANT_JSON`: its one argument is the path of a JSON file.
    WantJson,
    /// A script with the arguments put into its text, in place of `JSON_ARGS`.
    Embedded,
    /// Any other script: its one argument is the path of a file of `key=value` words.
    KeyValue,
    /// Written for PowerShell. There are no hosts for it here.
    PowerShell,
}

/// What [`FileKind::Embedded`] has where its arguments are to be: a JSON document, without quotes around it.
pub(super) const JSON_ARGS: &[u8] = b"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>";

/// So much of a file decides whether it is text.
const LOOKED_AT_BYTES: usize = 1024;

impl FileKind {
    pub fn of(content: &[u8]) -> FileKind {
        static IMPORTS: LazyLock<Regex> = LazyLock::new(|| {
            let pattern = r"(?m)^[ \t]*(?:from[ \t]+(?:ansible\.module_utils[. \t]|ansible_collections\.|\.+[\w. \t]*module_utils)|import[ \t]+(?:ansible\.module_utils\.|ansible_collections\.))";
            Regex::new(pattern).expect("a constant pattern")
        });
        let has = |mark: &[u8]| content.windows(mark.len()).any(|window| window == mark);
        if is_binary(content) {
            FileKind::Binary
        } else if has(JSON_ARGS) {
            FileKind::Embedded
        } else if has(b"#AnsibleRequires -CSharpUtil") || has(b"#Requires -Module") || has(b"#POWERSHELL_COMMON") {
            FileKind::PowerShell
        } else if IMPORTS.is_match(content) {
            FileKind::Python
        } else if has(b"WANT_JSON") {
            FileKind::WantJson
        } else {
            FileKind::KeyValue
        }
    }
}

/// As Ansible looks: a byte that text does not have, near the beginning.
fn is_binary(content: &[u8]) -> bool {
    let is_text = |byte: &u8| matches!(byte, 7..=10 | 12 | 13 | 27 | 0x20..=0xFF);
    !content.iter().take(LOOKED_AT_BYTES).all(is_text)
}

/// The words of the first line's `#!`.
pub(super) fn shebang(content: &[u8]) -> Option<Vec<String>> {
    let line = content.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    let words: Vec<String> = std::str::from_utf8(line).ok()?.split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

/// What the interpreter is called, without its folder: `python3`, also of `/usr/bin/env python3`.
pub(super) fn interpreter_name(words: &[String]) -> Option<&str> {
    let base = |word: &'_ String| word.rsplit('/').next().map(str::len).map(|len| word.len() - len);
    let name = |word| base(word).map(|at| &word[at..]);
    let first = name(words.first()?)?;
    if first != "env" {
        return Some(first);
    }
    words.iter().skip(1).find(|word| !word.starts_with('-') && !word.contains('=')).and_then(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_says_what_a_file_is() {
        for (content, kind) in [
            (&b"\x7fELF\x02\x01\x01\x00"[..], FileKind::Binary),
            (b"#!/bin/sh\necho {}\n", FileKind::KeyValue),
            (b"#!/usr/bin/python\n# WANT_JSON\n", FileKind::WantJson),
            (b"#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n", FileKind::Python),
            (b"try:\n    from ansible.module_utils import basic\nexcept ImportError:\n    pass\n", FileKind::Python),
            (b"import ansible.module_utils.basic\n", FileKind::Python),
            (b"from ..module_utils.api import Api\n", FileKind::Python),
            (b"from ansible_collections.a.b.plugins.module_utils.c import d\n", FileKind::Python),
            (b"# from ansible.module_utils.basic import x\n", FileKind::KeyValue),
            (b"args = '''<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>'''\n", FileKind::Embedded),
            (b"#!powershell\n#AnsibleRequires -CSharpUtil Ansible.Basic\n", FileKind::PowerShell),
        ] {
            assert_eq!(FileKind::of(content), kind, "{}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn an_interpreter_has_a_name_with_and_without_env() {
        let name = |text: &[u8]| shebang(text).and_then(|words| interpreter_name(&words).map(str::to_owned));
        assert_eq!(name(b"#!/usr/bin/python3 -s\nx").as_deref(), Some("python3"));
        assert_eq!(name(b"#! /usr/bin/env -S FOO=1 bash\nx").as_deref(), Some("bash"));
        assert_eq!(name(b"no shebang"), None);
    }
}
