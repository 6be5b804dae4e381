//! A password on its way to the program that asks for it.

use std::fmt;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use zeroize::Zeroize;

/// The longest password, in bytes. sudo reads no more than 255 of one.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// One line for `sudo` and its like, without its end: at most [`PASSWORD_BYTES_MAX`] bytes and no control characters but
/// tabs, so that nothing of it can be anything else than an answer. It is shown nowhere, not by `Debug` either, and wiped
/// from memory when it is dropped.
#[derive(Clone, PartialEq, Eq, Encode)]
pub struct Password(String);

/// Why a text is no password. It does not say the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes, and this one has {0}")]
    TooLong(usize),
    #[error("a password is one line without control characters, and this one is not")]
    Control,
}

impl Password {
    /// # Errors
    /// The text is too long, or no single line. It is wiped then, too.
    pub fn new(text: String) -> Result<Password, PasswordError> {
        let password = Password(text);
        match &password.0 {
            text if text.len() > PASSWORD_BYTES_MAX => Err(PasswordError::TooLong(text.len())),
            text if text.chars().any(|c| c.is_control() && c != '\t') => Err(PasswordError::Control),
            _ => Ok(password),
        }
    }

    /// What is to be typed, but for the line's end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl<Context> Decode<Context> for Password {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Password::new(String::decode(decoder)?).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(Password);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_password_is_one_line() {
        for text in ["", "hunter2", "two words\tand a tab", "pässwörd", &"x".repeat(PASSWORD_BYTES_MAX)] {
            assert_eq!(Password::new(text.to_owned()).unwrap().as_str(), text);
        }
        for text in ["two\nlines", "a\rb", "nul\0", "\x03", "\u{85}"] {
            assert_eq!(Password::new(text.to_owned()), Err(PasswordError::Control), "{text:?}");
        }
        let long = PASSWORD_BYTES_MAX + 1;
        assert_eq!(Password::new("x".repeat(long)), Err(PasswordError::TooLong(long)));
    }

    #[test]
    fn it_is_not_shown() {
        let password = Password::new("hunter2".to_owned()).unwrap();
        assert_eq!(format!("{:?}", Some(password)), "Some(Password(..))");
    }

    #[test]
    fn a_peer_cannot_send_what_is_none() {
        let sent = codec::encode(&"two\nlines".to_owned()).unwrap();
        let error = codec::decode::<Password>(&sent).unwrap_err();
        assert!(error.to_string().contains("one line without control characters"), "{error}");
        assert!(!error.to_string().contains("two"), "{error}");
        let whole = codec::encode(&Password::new("hunter2".to_owned()).unwrap()).unwrap();
        assert_eq!(codec::decode::<Password>(&whole).unwrap().as_str(), "hunter2");
    }
}
