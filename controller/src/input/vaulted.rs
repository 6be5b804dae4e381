//! Files and YAML scalars encrypted with ansible-vault, opened where they are read.

use std::sync::Arc;

use rustle_protocol::Value;

use super::source::{Place, Position};
use super::yaml::{Kind, Node};
use crate::template::Sealed;
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
        Kind::Sealed(sealed) => {
            let plain = vault.decrypt(sealed.text()).map_err(|error| (at, error))?;
            node.kind = Kind::Scalar(Value::from_output(plain));
            Ok(())
        }
        Kind::Scalar(_) => Ok(()),
        Kind::List(items) => items.iter_mut().try_for_each(|item| open_nodes(item, vault)),
        Kind::Map(entries) => entries.iter_mut().try_for_each(|(_, node)| open_nodes(node, vault)),
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
