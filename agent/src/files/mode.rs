//! File modes: octal ones, and the symbolic ones of `chmod`, `X` included.

use std::sync::OnceLock;

use crate::module::{Mode, ModuleError};

/// Permission bits, without the file type.
pub(crate) const PERMISSIONS: u32 = 0o7777;

/// What `mode` makes of a file that has `current`. `Preserve` keeps it.
///
/// # Errors
/// The symbolic mode cannot be read.
pub(crate) fn applied(mode: &Mode, current: u32, is_dir: bool) -> Result<u32, ModuleError> {
    match mode {
        Mode::Octal(bits) => Ok(*bits),
        Mode::Preserve => Ok(current & PERMISSIONS),
        Mode::Symbolic(text) if text.is_empty() => Ok(current & PERMISSIONS),
        Mode::Symbolic(text) => symbolic(text, current & PERMISSIONS, is_dir, umask()).ok_or_else(|| unreadable(text)),
    }
}

/// The failure of a mode that says nothing.
pub(crate) fn unreadable(text: &str) -> ModuleError {
    ModuleError::new("mode must be in octal or symbolic form")
        .with("details", format!("bad symbolic permission for mode: {text}"))
}

/// Octal with a nought before it, as Ansible's file modules return a mode: `0644`, `01777`.
pub(crate) fn octal(mode: u32) -> String {
    format!("0{:03o}", mode & PERMISSIONS)
}

/// The process' umask. Read from `/proc`, since asking the kernel would set it for a moment, for all threads.
pub(crate) fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
    })
}

/// `None` if `text` is not a symbolic mode.
fn symbolic(text: &str, current: u32, is_dir: bool, umask: u32) -> Option<u32> {
    let mut mode = current;
    for clause in text.split(',').filter(|clause| !clause.is_empty()) {
        let operators = clause.find(['=', '+', '-']).unwrap_or(clause.len());
        let (who, mut actions) = clause.split_at(operators);
        let (classes, mask) = classes(who, umask)?;
        while let Some(operator) = actions.chars().next() {
            let end = actions[1..].find(['=', '+', '-']).map_or(actions.len(), |at| at + 1);
            let bits = permissions(&actions[1..end], mode, is_dir)? & classes.reach() & mask;
            mode = match operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !classes.reach()) | bits,
            };
            actions = &actions[end..];
        }
    }
    Some(mode)
}

/// Whom a clause is about.
struct Classes {
    user: bool,
    group: bool,
    other: bool,
}

impl Classes {
    /// Every bit that belongs to them.
    fn reach(&self) -> u32 {
        let of = |yes: bool, bits: u32| if yes { bits } else { 0 };
        of(self.user, 0o4700) | of(self.group, 0o2070) | of(self.other, 0o1007)
    }
}

/// The classes, and the bits they may touch: nobody named means everybody, within the umask.
fn classes(who: &str, umask: u32) -> Option<(Classes, u32)> {
    if !who.chars().all(|c| "ugoa".contains(c)) {
        return None;
    }
    let all = who.is_empty() || who.contains('a');
    let has = |c: char| all || who.contains(c);
    let mask = if who.is_empty() { PERMISSIONS & !umask } else { PERMISSIONS };
    Some((Classes { user: has('u'), group: has('g'), other: has('o') }, mask))
}

/// The bits that `letters` stand for, for all classes at once.
fn permissions(letters: &str, mode: u32, is_dir: bool) -> Option<u32> {
    let spread = |bits: u32| (bits & 7) * 0o111;
    letters.chars().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6),
                'g' => spread(mode >> 3),
                'o' => spread(mode),
                _ => return None,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, current: u32) -> Option<u32> {
        symbolic(text, current, false, 0o022)
    }

    #[test]
    fn clauses_add_take_and_set_per_class() {
        assert_eq!(file("u=rw,g=r,o=", 0o777), Some(0o640));
        assert_eq!(file("u+x,go-rwx", 0o644), Some(0o700));
        assert_eq!(file("a=r", 0o777), Some(0o444));
        assert_eq!(file("g=u,o=g", 0o640), Some(0o666));
        assert_eq!(file("u+r-w", 0o200), Some(0o400));
    }

    #[test]
    fn capital_x_is_for_directories_and_what_somebody_may_execute() {
        assert_eq!(symbolic("u=rwX,g=rX,o=", 0o644, true, 0), Some(0o750));
        assert_eq!(file("u=rwX,g=rX,o=", 0o644), Some(0o640));
        assert_eq!(file("a+X", 0o744), Some(0o755));
    }

    #[test]
    fn nobody_named_means_everybody_within_the_umask() {
        assert_eq!(file("+w", 0o444), Some(0o644));
        assert_eq!(file("a+w", 0o444), Some(0o666));
    }

    #[test]
    fn special_bits_go_to_the_class_they_belong_to() {
        assert_eq!(file("u+s", 0o755), Some(0o4755));
        assert_eq!(file("g+s,+t", 0o755), Some(0o3755));
        assert_eq!(file("u=rwx", 0o4755), Some(0o755));
    }

    #[test]
    fn what_is_no_mode_is_refused_by_name() {
        for text in ["u=q", "z+r", "rw", "u=rw, g=r"] {
            assert_eq!(file(text, 0o644), None, "{text}");
        }
        for text in ["u", "", ","] {
            assert_eq!(file(text, 0o644), Some(0o644), "{text} asks for nothing");
        }
        assert_eq!(file("u=rw,,g=,", 0o644), Some(0o604));
        let error = applied(&Mode::Symbolic("u=q".into()), 0o644, false).unwrap_err().into_result();
        assert_eq!(error.get("details").unwrap().as_str(), Some("bad symbolic permission for mode: u=q"));
    }
}
