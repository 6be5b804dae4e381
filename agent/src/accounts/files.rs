//! The three files, line by line. A line that makes no sense is passed over, as the system itself does.

use std::io;
use std::path::Path;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// The comment field.
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// A line of `/etc/shadow`. Days count from 1970; a field left empty is `None`.
#[derive(Clone, PartialEq, Eq)]
pub struct Shadow {
    pub name: String,
    /// The hash. Locked if it begins with `!`.
    pub password: String,
    pub days_min: Option<i64>,
    pub days_max: Option<i64>,
    pub days_warn: Option<i64>,
    /// From the password's expiry to the account's.
    pub days_inactive: Option<i64>,
    pub expires_on_day: Option<i64>,
}

impl Shadow {
    pub fn is_locked(&self) -> bool {
        self.password.starts_with('!')
    }
}

/// Without the hash.
impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) trait Line: Sized {
    fn parse(fields: &[&str]) -> Option<Self>;
}

/// A line that gives a name to a number.
pub(super) trait Entry: Line + Clone {
    /// As `nsswitch.conf` and `getent` call it, and the file.
    const DATABASE: &'static str;

    fn name(&self) -> &str;

    fn number(&self) -> u32;
}

impl Line for User {
    fn parse(fields: &[&str]) -> Option<User> {
        let [name, _, uid, gid, rest @ ..] = fields else { return None };
        // A line may end early, as for the C library.
        let field = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        Some(User {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            gecos: field(0),
            home: field(1),
            shell: field(2),
        })
    }
}

impl Entry for User {
    const DATABASE: &'static str = "passwd";

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.uid
    }
}

impl Line for Group {
    fn parse(fields: &[&str]) -> Option<Group> {
        let [name, _, gid, rest @ ..] = fields else { return None };
        let members = rest.first().into_iter().flat_map(|members| members.split(','));
        let members = members.filter(|member| !member.is_empty()).map(str::to_owned).collect();
        Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
    }
}

impl Entry for Group {
    const DATABASE: &'static str = "group";

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.gid
    }
}

impl Line for Shadow {
    fn parse(fields: &[&str]) -> Option<Shadow> {
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Shadow {
            name: (*fields.first()?).to_owned(),
            password: (*fields.get(1)?).to_owned(),
            days_min: number(3),
            days_max: number(4),
            days_warn: number(5),
            days_inactive: number(6),
            expires_on_day: number(7),
        })
    }
}

pub(super) fn read<L: Line>(path: &Path) -> io::Result<Vec<L>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn parse<L: Line>(text: &str) -> Vec<L> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| L::parse(&line.split(':').collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_fields_left_empty_are_nothing() {
        let shadow: Vec<Shadow> = parse("bob:!$6$s$h:19000::90:::20000:\n");
        assert!(shadow[0].is_locked());
        assert_eq!((shadow[0].days_min, shadow[0].days_max, shadow[0].expires_on_day), (None, Some(90), Some(20000)));
        assert!(!format!("{shadow:?}").contains("$6$"), "a hash in debug output");
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        assert!(parse::<User>("+::::::\nx:y\na:x:-1:0:::\n").is_empty());
        assert_eq!(parse::<Group>("g:x:5:a,,b\n")[0].members, ["a", "b"]);
    }

    #[test]
    fn a_line_may_end_after_its_numbers() {
        let user = &parse::<User>("a:x:5:6\n")[0];
        assert_eq!((user.uid, user.gid, user.home.as_str()), (5, 6, ""));
        assert_eq!(parse::<Group>("g:x:5\n")[0].gid, 5);
    }
}
