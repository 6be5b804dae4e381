//! `vault` and `unvault`: text that `ansible-vault` could have encrypted.

use minijinja::value::Value;
use minijinja::{Environment, Error, State};

use super::params::{Args, Filter, Params, add_filters, defined, named, plain};
use super::python_type;
use crate::template::convert::failed;
use crate::template::python;
use crate::template::sealed::as_closed;
use crate::vars::Scope;
use crate::vault::{Secret, Vault, VaultError, encrypt, encrypt_with_salt, is_encrypted};

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(env, &[Filter("vault", &["secret", "salt", "vault_id", "wrap_object"], vault)]);
    for name in ["unvault", "ansible.builtin.unvault"] {
        env.add_filter(name, |state: &mut State<'_, '_>, value: &Value, args: Args| {
            defined(value)?;
            let sealed = cipher_text(state, value);
            Params::bind("unvault", &["secret", "vault_id"], &plain(args))
                .and_then(|params| unvault(sealed.as_ref().unwrap_or(value), &params))
                .map_err(|error| named("filter", "unvault", error))
        });
    }
    for name in ["vault_encrypted", "ansible.builtin.vault_encrypted"] {
        env.add_test(name, |state: &mut State<'_, '_>, value: &Value| {
            defined(value).map(|()| cipher_text(state, value).is_some())
        });
    }
}

/// What an author has encrypted, as it was written.
fn cipher_text(state: &State<'_, '_>, value: &Value) -> Option<Value> {
    let sealed = match as_closed(value) {
        Some(closed) => closed.sealed().clone(),
        None => Scope::of_state(state)?.templar().sealed(value)?,
    };
    Some(Value::from(&**sealed.text()))
}

/// The label that says that a filter made it.
const LABEL: &str = "filter_default";

fn vault(value: &Value, params: &Params) -> Result<Value, Error> {
    let secret = params.need("secret")?;
    let secret = text(secret, "Secret passed is required to be a string")?;
    let plain = text(value, "Can only vault strings")?;
    if params.flag("wrap_object", false) {
        return Err(failed("wrap_object is for Ansible's own objects; give the text to whatever needs it"));
    }
    let label = params.text("vault_id", LABEL);
    let salt = params.get("salt").filter(|salt| !salt.is_none()).map(python::text);
    let sealed = match salt {
        Some(salt) => encrypt_with_salt(plain.as_bytes(), secret.as_bytes(), Some(&label), salt.into_bytes()),
        None => {
            encrypt(plain.as_bytes(), secret.as_bytes(), Some(&label)).map_err(|error| failed(error.to_string()))?
        }
    };
    Ok(Value::from(sealed))
}

/// What is not encrypted is given back as it is.
fn unvault(value: &Value, params: &Params) -> Result<Value, Error> {
    let secret = text(params.need("secret")?, "Secret passed is required to be as string")?;
    let sealed = text(value, "Vault should be in the form of a string")?;
    if !is_encrypted(sealed) {
        return Ok(value.clone());
    }
    let vault = Vault::new(vec![Secret::new(&params.text("vault_id", LABEL), secret.as_bytes())]);
    let plain = vault.decrypt(sealed).map_err(|error| {
        let why = match error {
            VaultError::NoneFits => "Decryption failed (no vault secrets were found that could decrypt).".to_owned(),
            other => other.to_string(),
        };
        failed(format!("Unable to decrypt: {why}"))
    })?;
    String::from_utf8(plain).map(Value::from).map_err(|_| failed("what is encrypted there is no text"))
}

fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(|| failed(format!("{what}, instead we got <class '{}'>.", python_type(value))))
}
