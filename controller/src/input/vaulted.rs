//! What is encrypted with ansible-vault: files, which are opened where they are read, and YAML scalars, which stay closed.

use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;
use serde::de::IgnoredAny;

use super::source::Place;
use super::yaml::{Kind, Node, Tag};
use crate::template::{Authored, Sealed};
use crate::vault::{Vault, VaultError, is_encrypted};

/// A file's text, decrypted if the file as a whole is encrypted.
///
/// # Errors
/// If no password of `vault` fits.
pub(super) fn open_text(text: String, vault: &Vault) -> Result<String, VaultError> {
    if !is_encrypted(&text) {
        return Ok(text);
    }
    String::from_utf8(vault.decrypt(&text)?).map_err(|_| VaultError::Format("decrypted, it is not UTF-8 text"))
}

/// The mark of what is encrypted, in JSON that Ansible writes: `{"__ansible_vault": "$ANSIBLE_VAULT;1.1;..."}`.
pub(super) const VAULT_MARK: &str = "__ansible_vault";

/// Likewise, of what `!unsafe` says in YAML.
pub(super) const UNSAFE_MARK: &str = "__ansible_unsafe";

/// The mark and the text of a dict that is nothing else.
pub(super) fn marked(value: &Map) -> Option<(&str, &str)> {
    let (mark, text) = value.first().filter(|_| value.len() == 1)?;
    Some((mark.as_str(), text.as_str()?)).filter(|(mark, _)| [VAULT_MARK, UNSAFE_MARK].contains(mark))
}

/// What a value of JSON that an author stands for says, its marks read. `place` says where it stands.
pub(super) fn authored_json(value: Value, place: &Place) -> Authored {
    match value {
        Value::Map(map) => match marked(&map) {
            Some((VAULT_MARK, text)) => Authored::Sealed(Sealed::new(text, place.to_string())),
            Some((_, text)) => Authored::Unsafe(text.into()),
            None if map.values().any(holds_mark) => {
                Authored::Map(map.into_iter().map(|(key, value)| (key, authored_json(value, place))).collect())
            }
            None => Authored::from_value(Value::Map(map)),
        },
        Value::List(items) if items.iter().any(holds_mark) => {
            Authored::List(items.into_iter().map(|item| authored_json(item, place)).collect())
        }
        other => Authored::from_value(other),
    }
}

fn holds_mark(value: &Value) -> bool {
    match value {
        Value::Map(map) => marked(map).is_some() || map.values().any(holds_mark),
        Value::List(items) => items.iter().any(holds_mark),
        _ => false,
    }
}

/// Whether a file's text is JSON with marks in it, and not YAML.
pub(super) fn is_marked_json(text: &str) -> bool {
    (text.contains(VAULT_MARK) || text.contains(UNSAFE_MARK)) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Reads the marks in and below a node that was JSON.
pub(super) fn read_marks(node: &mut Node) {
    match &mut node.kind {
        Kind::Map(entries) => {
            let text = match &entries[..] {
                [(key, Node { kind: Kind::Scalar(Value::String(text)), .. })] => Some((key.text.as_str(), text)),
                _ => None,
            };
            match text {
                Some((VAULT_MARK, text)) => node.kind = Kind::Sealed(Sealed::new(text.as_str(), "")),
                Some((UNSAFE_MARK, text)) => {
                    node.tag = Some(Tag::Unsafe);
                    node.kind = Kind::Scalar(Value::from(text.as_str()));
                }
                _ => entries.iter_mut().for_each(|(_, node)| read_marks(node)),
            }
        }
        Kind::List(items) => items.iter_mut().for_each(read_marks),
        Kind::Scalar(_) | Kind::Sealed(_) => {}
    }
}

/// Tells what is encrypted in and below a node which file it is in.
pub(super) fn name_places(node: &mut Node, source: &Arc<str>) {
    let place = Place::at(source, node.at);
    match &mut node.kind {
        Kind::Sealed(sealed) => *sealed = Sealed::new(Arc::clone(sealed.text()), place.to_string()),
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|item| name_places(item, source)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, node)| name_places(node, source)),
    }
}
