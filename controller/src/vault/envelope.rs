//! The text form: `$ANSIBLE_VAULT;1.1;AES256`, then lines of hexadecimal digits.

use std::fmt;

use super::VaultError;

/// What every encrypted text begins with.
pub const HEADER: &str = "$ANSIBLE_VAULT";

/// Digits in a line, as ansible-vault writes them.
const LINE_DIGITS: usize = 80;

/// Whether a text is one of ansible-vault's.
pub fn is_encrypted(text: &str) -> bool {
    text.starts_with(HEADER)
}

pub(super) struct Envelope {
    /// Version 1.2 names the password it was made with.
    pub(super) label: Option<String>,
    pub(super) salt: Vec<u8>,
    pub(super) code: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

impl Envelope {
    pub(super) fn parse(text: &str) -> Result<Envelope, VaultError> {
        let mut lines = text.trim().lines().map(str::trim);
        let header: Vec<&str> = lines.next().unwrap_or_default().split(';').map(str::trim).collect();
        let label = match header[..] {
            [HEADER, "1.1", "AES256"] | [HEADER, "1.2", "AES256"] => None,
            [HEADER, "1.2", "AES256", label] => Some(label.to_owned()),
            [HEADER, version, cipher, ..] => return Err(VaultError::Unknown(format!("{version};{cipher}"))),
            _ => return Err(VaultError::Format("it does not begin with $ANSIBLE_VAULT;VERSION;CIPHER")),
        };
        let digits: String = lines.collect();
        let inner = unhex(&digits).ok_or(VaultError::Format("its lines are not hexadecimal digits"))?;
        let mut parts = inner.splitn(3, |byte| *byte == b'\n');
        let mut part = || {
            let digits = parts.next().and_then(|part| std::str::from_utf8(part).ok());
            digits.and_then(unhex).ok_or(VaultError::Format("it is cut off"))
        };
        Ok(Envelope { label, salt: part()?, code: part()?, ciphertext: part()? })
    }
}

impl fmt::Display for Envelope {
    /// Ends with a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            None => writeln!(f, "{HEADER};1.1;AES256")?,
            Some(label) => writeln!(f, "{HEADER};1.2;AES256;{label}")?,
        }
        let inner = [&self.salt, &self.code, &self.ciphertext].map(|part| hex(part)).join("\n");
        let digits = hex(inner.as_bytes());
        for line in digits.as_bytes().chunks(LINE_DIGITS) {
            writeln!(f, "{}", String::from_utf8_lossy(line))?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
