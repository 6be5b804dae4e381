//! Character encodings, under the names that Python knows them by: what an `encoding` argument may say.

use Order::{Big, Little};

/// How text becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Ascii,
    Latin1,
    Utf8,
    /// Without an order: with a mark at the beginning, which is written for this machine and heeded when it is read.
    Utf16(Option<Order>),
    Utf32(Option<Order>),
}

/// Which byte of several comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

const MARK: char = '\u{feff}';
const NATIVE: Order = if cfg!(target_endian = "big") { Big } else { Little };

impl Encoding {
    /// The encoding that Python knows by this name.
    ///
    /// # Errors
    /// It is none of these.
    pub fn named(name: &str) -> Result<Encoding, String> {
        Ok(match name.trim().to_ascii_lowercase().replace(['_', ' '], "-").as_str() {
            "utf-8" | "utf8" | "u8" => Encoding::Utf8,
            "ascii" | "us-ascii" | "646" => Encoding::Ascii,
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1" => Encoding::Latin1,
            "utf-16" | "utf16" => Encoding::Utf16(None),
            "utf-16-le" | "utf-16le" => Encoding::Utf16(Some(Little)),
            "utf-16-be" | "utf-16be" => Encoding::Utf16(Some(Big)),
            "utf-32" | "utf32" => Encoding::Utf32(None),
            "utf-32-le" | "utf-32le" => Encoding::Utf32(Some(Little)),
            "utf-32-be" | "utf-32be" => Encoding::Utf32(Some(Big)),
            _ => return Err(format!("unknown encoding: {name}")),
        })
    }

    /// The text as bytes.
    ///
    /// # Errors
    /// A character that it does not have.
    pub fn encode(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Encoding::Utf8 => Ok(text.as_bytes().to_vec()),
            Encoding::Ascii => narrow(text, "ascii", 0x7f),
            Encoding::Latin1 => narrow(text, "latin-1", 0xff),
            Encoding::Utf16(order) => {
                let mut buffer = [0; 2];
                let order_known = order.unwrap_or(NATIVE);
                let units = marked(text, order).flat_map(|c| c.encode_utf16(&mut buffer).to_vec());
                Ok(units.flat_map(|unit| in_order(order_known, unit.to_le_bytes())).collect())
            }
            Encoding::Utf32(order) => {
                let order_known = order.unwrap_or(NATIVE);
                Ok(marked(text, order).flat_map(|c| in_order(order_known, u32::from(c).to_le_bytes())).collect())
            }
        }
    }

    /// The text that the bytes are.
    ///
    /// # Errors
    /// The bytes are no text in it.
    pub fn decode(self, bytes: &[u8]) -> Result<String, String> {
        match self {
            Encoding::Utf8 => std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| error.to_string()),
            Encoding::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                None => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
                Some(at) => Err(format!("'ascii' cannot decode the byte at position {at}")),
            },
            Encoding::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Encoding::Utf16(order) => {
                let read = |order| {
                    let units = units(bytes, order)?.map(u16::from_le_bytes);
                    char::decode_utf16(units).collect::<Result<String, _>>().ok()
                };
                unmarked(order, read).ok_or_else(|| "the bytes are no text in UTF-16".to_owned())
            }
            Encoding::Utf32(order) => {
                let read = |order| units(bytes, order)?.map(|unit| char::from_u32(u32::from_le_bytes(unit))).collect();
                unmarked(order, read).ok_or_else(|| "the bytes are no text in UTF-32".to_owned())
            }
        }
    }
}

/// A byte for each character, the last being `last`.
fn narrow(text: &str, name: &str, last: u32) -> Result<Vec<u8>, String> {
    let byte = |(at, c): (usize, char)| match u8::try_from(u32::from(c)) {
        Ok(byte) if u32::from(byte) <= last => Ok(byte),
        _ => Err(format!(
            "'{name}' codec can't encode character '{}' in position {at}: ordinal not in range({})",
            escaped(c),
            last + 1
        )),
    };
    text.chars().enumerate().map(byte).collect()
}

/// As Python shows it.
fn escaped(c: char) -> String {
    match u32::from(c) {
        number @ ..=0xff => format!("\\x{number:02x}"),
        number @ ..=0xffff => format!("\\u{number:04x}"),
        number => format!("\\U{number:08x}"),
    }
}

fn marked(text: &str, order: Option<Order>) -> impl Iterator<Item = char> {
    order.is_none().then_some(MARK).into_iter().chain(text.chars())
}

/// The text that `read` finds: in the order that is meant, else in that which a mark at the beginning tells.
fn unmarked(order: Option<Order>, read: impl Fn(Order) -> Option<String>) -> Option<String> {
    if let Some(order) = order {
        return read(order);
    }
    let other = if NATIVE == Little { Big } else { Little };
    let behind_mark = |order| read(order)?.strip_prefix(MARK).map(str::to_owned);
    behind_mark(NATIVE).or_else(|| behind_mark(other)).or_else(|| read(NATIVE))
}

fn in_order<const N: usize>(order: Order, mut little: [u8; N]) -> [u8; N] {
    if order == Big {
        little.reverse();
    }
    little
}

/// The bytes in units of `N`, each as if its order were little; `None` if the last one is not whole.
fn units<const N: usize>(bytes: &[u8], order: Order) -> Option<impl Iterator<Item = [u8; N]>> {
    let (units, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| units.iter().map(move |unit| in_order(order, *unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] =
        ["utf-8", "ascii", "latin-1", "utf-16", "UTF_16_LE", "utf-16be", "utf-32", "utf-32-le", "utf-32-be"];

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for name in NAMES {
            let encoding = Encoding::named(name).unwrap();
            for text in ["", "plain", "é", "漢🦀"] {
                match encoding.encode(text) {
                    Ok(bytes) => assert_eq!(encoding.decode(&bytes).unwrap(), text, "{name}"),
                    Err(_) => assert!(matches!(encoding, Encoding::Ascii | Encoding::Latin1), "{name}: {text}"),
                }
            }
        }
    }

    #[test]
    fn a_mark_tells_the_order_and_bytes_that_are_no_text_are_refused() {
        let utf16 = Encoding::named("utf-16").unwrap();
        assert_eq!(utf16.decode(b"\xfe\xff\0a").unwrap(), "a");
        assert_eq!(utf16.decode(b"\xff\xfea\0").unwrap(), "a");
        for (name, bytes) in
            [("utf-16", &b"a"[..]), ("utf-16-be", b"\xd8\0"), ("utf-32-le", b"\0\0\x11\x11"), ("ascii", b"\xe9")]
        {
            assert!(Encoding::named(name).unwrap().decode(bytes).is_err(), "{name}");
        }
        assert!(Encoding::named("martian").is_err());
    }
}
