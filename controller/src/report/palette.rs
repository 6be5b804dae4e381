//! What each colour looks like: Ansible's, or what people have set (`COLOR_OK` and so on), by Ansible's names.

use std::borrow::Cow;

use super::line::Colour;

/// Ansible's names of colours, and what a terminal is told.
const NAMED: [(&str, &str); 19] = [
    ("normal", "0"),
    ("black", "0;30"),
    ("bright gray", "0;37"),
    ("blue", "0;34"),
    ("white", "1;37"),
    ("green", "0;32"),
    ("bright blue", "1;34"),
    ("cyan", "0;36"),
    ("bright green", "1;32"),
    ("red", "0;31"),
    ("bright cyan", "1;36"),
    ("purple", "0;35"),
    ("bright red", "1;31"),
    ("yellow", "0;33"),
    ("bright purple", "1;35"),
    ("dark gray", "1;30"),
    ("bright yellow", "1;33"),
    ("magenta", "0;35"),
    ("bright magenta", "1;35"),
];

/// The colours of a run's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// By [`Colour`].
    codes: [Cow<'static, str>; Palette::COLOURS.len()],
}

impl Default for Palette {
    fn default() -> Palette {
        Palette { codes: Palette::COLOURS.map(|(_, _, default)| code(default).unwrap_or_default()) }
    }
}

impl Palette {
    /// Each colour, in the order of the enum, with Ansible's setting for it and what that is if nobody sets it.
    pub const COLOURS: [(Colour, &'static str, &'static str); 11] = [
        (Colour::Ok, "ok", "green"),
        (Colour::Changed, "changed", "yellow"),
        (Colour::Error, "error", "red"),
        (Colour::Unreachable, "unreachable", "bright red"),
        (Colour::Skipped, "skip", "cyan"),
        (Colour::Included, "included", "cyan"),
        (Colour::Retry, "debug", "dark gray"),
        (Colour::Warning, "warn", "bright purple"),
        (Colour::DiffAdded, "diff_add", "green"),
        (Colour::DiffRemoved, "diff_remove", "red"),
        (Colour::DiffPlace, "diff_lines", "cyan"),
    ];

    /// With what `set` has for the names of settings. A colour that there is not is passed over.
    pub fn with(set: impl Fn(&str) -> Option<String>) -> Palette {
        let mut palette = Palette::default();
        for (colour, setting, _) in Palette::COLOURS {
            if let Some(code) = set(setting).and_then(|name| code(name.trim())) {
                palette.codes[colour as usize] = code;
            }
        }
        palette
    }

    /// What stands between `ESC [` and `m`.
    pub(super) fn code(&self, colour: Colour) -> &str {
        &self.codes[colour as usize]
    }
}

/// The code of a colour by its name, as one of 256 (`color9`), as a cube's (`rgb123`) or as a gray (`gray7`).
fn code(name: &str) -> Option<Cow<'static, str>> {
    if let Some((_, code)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(Cow::Borrowed(code));
    }
    let number = |digits: &str, max: u8| digits.parse::<u8>().ok().filter(|number| *number <= max);
    let of_256 = if let Some(digits) = name.strip_prefix("color") {
        number(digits, u8::MAX)
    } else if let Some(digits) = name.strip_prefix("gray") {
        number(digits, 23).map(|level| 232 + level)
    } else {
        let parts: Option<Vec<u8>> =
            name.strip_prefix("rgb")?.chars().map(|c| number(c.encode_utf8(&mut [0; 4]), 5)).collect();
        match parts?[..] {
            [red, green, blue] => Some(16 + 36 * red + 6 * green + blue),
            _ => None,
        }
    };
    of_256.map(|colour| Cow::Owned(format!("38;5;{colour}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_stands_in_its_place_and_has_a_code() {
        for (place, (colour, setting, default)) in Palette::COLOURS.into_iter().enumerate() {
            assert_eq!(colour as usize, place, "{setting}");
            assert_eq!(Palette::default().code(colour), code(default).unwrap(), "{setting}");
        }
    }

    #[test]
    fn a_colour_is_named_or_counted_and_one_that_there_is_not_is_passed_over() {
        let codes =
            ["white", "magenta", "color5", "rgb123", "rgb555", "gray7", "normal"].map(|name| code(name).unwrap());
        assert_eq!(codes, ["1;37", "0;35", "38;5;5", "38;5;67", "38;5;231", "38;5;239", "0"]);
        for name in ["", "pink", "color256", "gray24", "rgb126", "rgb12", "rgb", "color-1", "rgb1é2"] {
            assert_eq!(code(name), None, "{name}");
        }
        let palette = Palette::with(|setting| match setting {
            "ok" => Some("blue ".to_owned()),
            "skip" => Some("nonsense".to_owned()),
            _ => None,
        });
        assert_eq!((palette.code(Colour::Ok), palette.code(Colour::Skipped)), ("0;34", "0;36"));
    }
}
