//! Files and YAML scalars encrypted with ansible-vault, opened where they are read.

use rustle_protocol::Value;

use super::source::Position;
use super::yaml::{Kind, Node, Tag};
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

/// Decrypts every `!vault` scalar in and below a node, in place.
///
/// # Errors
/// The first that no password of `vault` fits, with its place.
pub(super) fn open_nodes(node: &mut Node, vault: &Vault) -> Result<(), (Position, VaultError)> {
    let at = node.at;
    match &mut node.kind {
        Kind::Scalar(value) if node.tag == Some(Tag::Vault) => {
            let text = value.as_str().unwrap_or_default();
            *value = Value::from_output(vault.decrypt(text).map_err(|error| (at, error))?);
            node.tag = None;
            Ok(())
        }
        Kind::Scalar(_) => Ok(()),
        Kind::List(items) => items.iter_mut().try_for_each(|item| open_nodes(item, vault)),
        Kind::Map(entries) => entries.iter_mut().try_for_each(|(_, node)| open_nodes(node, vault)),
    }
}
