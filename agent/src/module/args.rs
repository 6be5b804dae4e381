//! Typed arguments. [`arguments!`](crate::arguments) declares a struct once and gives it a parser, the checks the
//! controller makes before it contacts a host, and its documentation.
//!
//! Values are converted as Ansible does it (`types`). `null` is the same as an argument that is not there.

mod expand;
mod types;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

pub(crate) use expand::expand_with;
use types::CONVERTED;
pub use types::{BlobRef, FromArg, Mode, Names};

/// One argument, for checks and documentation.
#[derive(Debug)]
pub struct ArgSpec {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: ArgKind,
    pub required: bool,
    /// What the argument is if it is not given; null if it is nothing then.
    pub default: fn() -> Value,
    /// The allowed values; empty if any value of the kind will do.
    pub choices: &'static [&'static str],
    pub doc: &'static str,
    /// Whether a value would do, and if not, why.
    pub check: fn(&Value) -> Result<(), String>,
}

impl ArgSpec {
    /// For the controller to give, not for a task.
    pub fn is_inner(&self) -> bool {
        self.name.starts_with('_')
    }
}

/// What an argument is, in Ansible's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    Str,
    Bool,
    Int,
    Float,
    Path,
    List,
    Dict,
    Raw,
}

impl ArgKind {
    pub fn name(self) -> &'static str {
        match self {
            ArgKind::Str => "str",
            ArgKind::Bool => "bool",
            ArgKind::Int => "int",
            ArgKind::Float => "float",
            ArgKind::Path => "path",
            ArgKind::List => "list",
            ArgKind::Dict => "dict",
            ArgKind::Raw => "raw",
        }
    }
}

/// Why a module does not take the arguments it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    #[error("Unsupported parameters for ({module}) module: {}. Supported parameters include: {supported}.{}",
        .unknown.join(", "), hint(.nearest))]
    Unknown { module: String, unknown: Vec<String>, nearest: Option<String>, supported: String },
    #[error("missing required arguments: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The sentence names the argument.
    #[error("{0}")]
    Value(String),
    /// A rule between arguments.
    #[error("{0}")]
    Rule(String),
}

impl ArgError {
    /// As Ansible says it when a task fails of it: the module by the name that it was run by, and no advice.
    #[must_use]
    pub fn told_of(self, name: &str) -> ArgError {
        match self {
            ArgError::Unknown { module, unknown, supported, .. } => {
                // One with a dot is such a name already.
                let module = if module.contains('.') { module } else { name.to_owned() };
                ArgError::Unknown { module, unknown, nearest: None, supported }
            }
            other => other,
        }
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" Did you mean `{name}`?")).unwrap_or_default()
}

/// An enum declared by [`choices!`](crate::choices).
pub trait Choice {
    /// Ansible's spelling.
    fn spelling(self) -> &'static str;
}

/// A struct declared by [`arguments!`](crate::arguments).
pub trait ModuleArgs: Sized {
    /// Its own arguments, then those of each flattened struct.
    const GROUPS: &'static [&'static [ArgSpec]];
    /// Whether others than these will do, too: they are for somebody else, who looks at them.
    const TAKES_ANY: bool = false;

    /// # Errors
    /// What the reader has found wrong. Arguments that nobody knows are what is left in it.
    fn read(reader: &mut ArgReader) -> Result<Self, ArgError>;
}

/// Parses the arguments of `module`.
///
/// # Errors
/// As [`parse_checked`].
pub fn parse<A: ModuleArgs>(module: &str, args: Map) -> Result<A, ArgError> {
    parse_checked(module, args, &[], |_| Ok(()))
}

/// Parses the arguments of `module`, of which some exclude each other, and asks `check` about what they come to.
///
/// # Errors
/// What Ansible would say, which looks at them in this order: those that exclude each other, those that are missing, the
/// types of all, the choices of all, the rules between them, and last those that the module does not have.
pub fn parse_checked<A: ModuleArgs>(
    module: &str,
    args: Map,
    exclusive: &[&[&str]],
    check: impl FnOnce(&A) -> Result<(), ArgError>,
) -> Result<A, ArgError> {
    exclude_each_other::<A>(&args, exclusive)?;
    let mut reader = ArgReader { args, missing: Vec::new(), wrong: None, not_among: None };
    let parsed = A::read(&mut reader)?;
    check(&parsed)?;
    if reader.args.is_empty() {
        return Ok(parsed);
    }
    let mut unknown: Vec<String> = reader.args.keys().cloned().collect();
    unknown.sort_unstable();
    Err(unknown_args(module, unknown, A::GROUPS))
}

fn exclude_each_other<A: ModuleArgs>(args: &Map, exclusive: &[&[&str]]) -> Result<(), ArgError> {
    let is_set = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
    let is_given = |name: &&&str| {
        let mut specs = A::GROUPS.iter().copied().flatten();
        let spec = specs.find(|spec| spec.name == **name);
        is_set(name) || spec.is_some_and(|spec| spec.aliases.iter().any(|alias| is_set(alias)))
    };
    let together = exclusive.iter().filter(|names| names.iter().filter(is_given).count() > 1);
    let together: Vec<String> = together.map(|names| names.join("|")).collect();
    match together.is_empty() {
        true => Ok(()),
        false => Err(ArgError::Rule(format!("parameters are mutually exclusive: {}", together.join(", ")))),
    }
}

/// Ansible's warnings of arguments that are given under their name and another one, which is the one that counts.
pub fn both_set(args: &Map, groups: &[&[ArgSpec]]) -> Vec<String> {
    let is_given = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
    let specs = groups.iter().copied().flatten().filter(|spec| is_given(spec.name));
    specs
        .flat_map(|spec| spec.aliases.iter().filter(|alias| is_given(alias)).map(move |alias| (spec.name, alias)))
        .map(|(name, alias)| format!("Both option {name} and its alias {alias} are set."))
        .collect()
}

/// The error for arguments that no spec in `groups` names.
pub fn unknown_args(module: &str, unknown: Vec<String>, groups: &[&[ArgSpec]]) -> ArgError {
    let specs = || groups.iter().copied().flatten();
    let names = || specs().flat_map(|spec| std::iter::once(&spec.name).chain(spec.aliases));
    let nearest = unknown.first().and_then(|wrong| nearest(wrong, names().copied()));
    ArgError::Unknown {
        module: module.to_owned(),
        nearest: nearest.map(str::to_owned),
        supported: supported(specs().filter(|spec| !spec.is_inner())),
        unknown,
    }
}

/// As Ansible lists them: names, then in brackets the other names, each sorted.
fn supported<'s>(specs: impl Iterator<Item = &'s ArgSpec>) -> String {
    let (mut names, mut aliases) = (Vec::<&str>::new(), Vec::<&str>::new());
    for spec in specs {
        names.push(spec.name);
        aliases.extend(spec.aliases);
    }
    names.sort_unstable();
    aliases.sort_unstable();
    match aliases.as_slice() {
        [] => names.join(", "),
        aliases => format!("{} ({})", names.join(", "), aliases.join(", ")),
    }
}

/// The candidate most like `wrong`, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Arguments not yet taken, and what was wrong with those that were.
#[derive(Debug)]
pub struct ArgReader {
    args: Map,
    missing: Vec<String>,
    /// The first value of a wrong type.
    wrong: Option<ArgError>,
    /// The first value that is not among those it may be.
    not_among: Option<ArgError>,
}

impl ArgReader {
    /// Takes the argument `spec` describes. None if something is wrong with it, which is told at the end.
    pub fn take<T: FromArg>(&mut self, spec: &ArgSpec, default: Option<fn() -> T>) -> Option<T> {
        let Some(value) = self.take_value(spec) else {
            let absent = default.map(|make| make()).or_else(T::absent);
            if absent.is_none() {
                self.missing.push(spec.name.to_owned());
            }
            return absent;
        };
        let (is_wrong, why) = match T::from_arg(value) {
            Ok(value) => return Some(value),
            Err(why) => (spec.choices.is_empty(), why),
        };
        let first = if is_wrong { &mut self.wrong } else { &mut self.not_among };
        first.get_or_insert_with(|| value_error(spec, &why));
        None
    }

    /// The value under an alias or, failing that, the argument's name, as in Ansible.
    fn take_value(&mut self, spec: &ArgSpec) -> Option<Value> {
        let mut found = None;
        for name in std::iter::once(&spec.name).chain(spec.aliases) {
            if let Some(value) = self.args.shift_remove(*name).filter(|value| !value.is_null()) {
                found = Some(value);
            }
        }
        found
    }

    /// What nobody has taken.
    pub fn rest(&mut self) -> Map {
        std::mem::take(&mut self.args)
    }

    /// What was wrong: of several errors the one that Ansible comes to first.
    pub fn error(&self) -> ArgError {
        let mut missing = self.missing.clone();
        missing.sort_unstable();
        match (missing.is_empty(), &self.wrong, &self.not_among) {
            (true, Some(error), _) | (true, None, Some(error)) => error.clone(),
            (false, ..) | (true, None, None) => ArgError::Missing(missing),
        }
    }
}

/// The error for a value that will not do.
pub fn value_error(spec: &ArgSpec, why: &str) -> ArgError {
    // That the list itself is none would be said of a list.
    let of_element =
        spec.kind == ArgKind::List && why.contains(CONVERTED) && !why.contains("unable to convert to list");
    ArgError::Value(match spec.choices {
        [] if of_element => format!("Elements value for option '{}' {why}", spec.name),
        [] => format!("argument '{}' {why}", spec.name),
        choices => format!("value of {} must be one of: {}, {why}", spec.name, choices.join(", ")),
    })
}

/// `r#type` is the argument `type`.
pub const fn field_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Declares a module's arguments: name, aliases after `|`, type, default after `=`. `Option<T>` may be left out,
/// anything else without a default is required. `flatten` takes in the arguments of another such struct.
///
/// ```
/// use rustle_agent::arguments;
/// use rustle_agent::module::args::parse;
/// use std::path::PathBuf;
///
/// arguments! {
///     /// Arguments of a module that touches a file.
///     pub struct TouchArgs {
///         /// The file.
///         path | "dest" | "name": PathBuf,
///         /// Make parents too.
///         parents: bool = false,
///         /// Text to write.
///         content: Option<String>,
///     }
/// }
///
/// let args = serde_json::from_str(r#"{"dest": "/tmp/x", "parents": "yes"}"#).unwrap();
/// let args: TouchArgs = parse("touch", args).unwrap();
/// assert!(args.parents && args.content.is_none());
/// let wrong = serde_json::from_str(r#"{"path": "/tmp/x", "pth": 1}"#).unwrap();
/// let error = parse::<TouchArgs>("touch", wrong).unwrap_err();
/// assert!(error.to_string().starts_with("Unsupported parameters for (touch) module: pth."));
/// ```
#[macro_export]
macro_rules! arguments {
    (
        $(#[doc = $struct_doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(| $alias:literal)* : $ty:ty $(= $default:expr)?
            ),* $(,)?
            $(; flatten $($flat:ident : $flat_ty:ty),+ $(,)?)?
        }
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $( $(#[doc = $doc])* $vis $field: $ty, )*
            $( $($vis $flat: $flat_ty,)+ )?
        }

        impl $name {
            const OWN: &'static [$crate::module::ArgSpec] = &[
                $($crate::module::ArgSpec {
                    name: $crate::module::args::field_name(stringify!($field)),
                    aliases: &[$($alias),*],
                    kind: <$ty as $crate::module::FromArg>::KIND,
                    required: $crate::module::args::is_required(stringify!($ty), &[$(stringify!($default))?]),
                    default: || $crate::module::args::default_value::<$ty>(&[$(|| $default)?]),
                    choices: <$ty as $crate::module::FromArg>::CHOICES,
                    doc: concat!("", $($doc, "\n"),*),
                    check: |value| <$ty as $crate::module::FromArg>::from_arg(value.clone()).map(drop),
                }),*
            ];
        }

        impl $crate::module::ModuleArgs for $name {
            const GROUPS: &'static [&'static [$crate::module::ArgSpec]] =
                $crate::arguments!(@groups $name $($($flat_ty),+)?);

            fn read(reader: &mut $crate::module::args::ArgReader) -> Result<Self, $crate::module::ArgError> {
                let mut _specs = $name::OWN.iter();
                // A module may have no arguments.
                let _ = &reader;
                $(
                    let $field = reader.take::<$ty>(
                        _specs.next().expect("one spec per field"),
                        $crate::module::args::first_fn(&[$((|| $default) as fn() -> $ty)?]),
                    );
                )*
                // All are looked at before the first error is told, which is not always the first that is met.
                $($( let $flat = <$flat_ty as $crate::module::ModuleArgs>::read(reader); )+)?
                Ok($name {
                    $($field: $field.ok_or_else(|| reader.error())?,)*
                    $($($flat: $flat?,)+)?
                })
            }
        }
    };
    (@groups $name:ident) => { &[$name::OWN] };
    (@groups $name:ident $($flat_ty:ty),+) => {
        &[$name::OWN, $(<$flat_ty as $crate::module::ModuleArgs>::GROUPS[0]),+]
    };
}

/// Declares the values an argument may have, each with Ansible's spelling.
///
/// ```
/// rustle_agent::choices! {
///     /// What becomes of the file.
///     pub enum State { Present = "present", Absent = "absent" }
/// }
/// ```
#[macro_export]
macro_rules! choices {
    (
        $(#[doc = $enum_doc:literal])*
        $vis:vis enum $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $text:literal),+ $(,)? }
    ) => {
        $(#[doc = $enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $doc])* $variant),+ }

        impl $crate::module::args::Choice for $name {
            fn spelling(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl $crate::module::FromArg for $name {
            const KIND: $crate::module::ArgKind = $crate::module::ArgKind::Str;
            const CHOICES: &'static [&'static str] = &[$($text),+];

            fn from_arg(value: ::rustle_protocol::Value) -> Result<Self, String> {
                let value = $crate::module::args::chosen(value, Self::CHOICES);
                match <String as $crate::module::FromArg>::from_arg(value)?.as_str() {
                    $($text => Ok($name::$variant),)+
                    other => Err(format!("got: {other}")),
                }
            }

            fn to_value(&self) -> ::rustle_protocol::Value {
                $crate::module::args::Choice::spelling(*self).into()
            }
        }
    };
}

/// A boolean stands for the one choice that means the same, if there is just one: in YAML 1.1 `no` is a boolean.
pub fn chosen(value: Value, choices: &[&str]) -> Value {
    let Value::Bool(wanted) = value else { return value };
    let words = if wanted { ["yes", "true", "on"] } else { ["no", "false", "off"] };
    let mut same = choices.iter().filter(|choice| words.contains(choice));
    match (same.next(), same.next()) {
        (Some(&choice), None) => choice.into(),
        _ => value,
    }
}

/// Whether an argument of this type and default has to be given.
pub const fn is_required(ty: &str, default: &[&str]) -> bool {
    !(default.len() == 1 || matches!(ty.as_bytes(), [b'O', b'p', b't', b'i', b'o', b'n', ..]))
}

pub fn default_value<T: FromArg>(default: &[fn() -> T]) -> Value {
    first_fn(default).map(|make| make().to_value()).unwrap_or_default()
}

pub fn first_fn<T>(default: &[fn() -> T]) -> Option<fn() -> T> {
    default.first().copied()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    choices! {
        /// Test.
        pub(crate) enum Color { Red = "red", Blue = "blue" }
    }

    arguments! {
        /// Shared.
        pub(crate) struct Common {
            /// Who owns it.
            owner: Option<String>,
        }
    }

    arguments! {
        /// Test.
        pub(crate) struct TestArgs {
            /// Where.
            path | "dest": PathBuf,
            color: Color = Color::Red,
            count: Option<u32>,
            names: Option<Vec<String>>,
            r#type: bool = true,
            ; flatten common: Common
        }
    }

    fn parse(json: &str) -> Result<TestArgs, ArgError> {
        super::parse("test", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn blanks_in_a_list_that_is_one_text_are_a_part_of_its_items() {
        let list = || Value::from("a, b");
        assert_eq!(Vec::<String>::from_arg(list()), Ok(vec!["a".to_owned(), " b".to_owned()]));
        assert_eq!(Vec::<i64>::from_arg("1, 2".into()), Ok(vec![1, 2]));
        assert_eq!(Names::from_arg(list()), Ok(Names(vec!["a".to_owned(), "b".to_owned()])));
    }

    #[test]
    fn data_as_text_is_what_python_shows() {
        let value = serde_json::json!({"a": [1, true, null, 1.5, "it's", "\"'\n"], "b": {}});
        let text = String::from_arg(Value::from(value)).unwrap();
        assert_eq!(text, r#"{'a': [1, True, None, 1.5, "it's", '"\'\n'], 'b': {}}"#);
    }

    #[test]
    fn values_are_converted_as_ansible_does() {
        let args = parse(r#"{"dest": "/x", "count": "5", "names": "a,b", "type": "no", "owner": 7}"#).unwrap();
        assert_eq!((args.count, args.names, args.r#type), (Some(5), Some(vec!["a".into(), "b".into()]), false));
        assert_eq!(args.common.owner.as_deref(), Some("7"));
        assert_eq!((args.path, args.color), (PathBuf::from("/x"), Color::Red));
    }

    #[test]
    fn of_several_errors_the_one_is_told_that_ansible_comes_to_first() {
        let told = |json: &str, exclusive: &[&[&str]]| {
            let args = serde_json::from_str(json).unwrap();
            parse_checked::<TestArgs>("test", args, exclusive, |_| Err(ArgError::Rule("a rule".into())))
                .unwrap_err()
                .to_string()
        };
        let exclusive: &[&[&str]] = &[&["path", "count"]];
        let all = r#"{"dest": "/x", "count": "many", "type": "x", "color": "green", "bogus": 1}"#;
        assert_eq!(told(all, exclusive), "parameters are mutually exclusive: path|count");
        assert!(told(all, &[]).starts_with("argument 'count' is of type str"), "types before choices");
        let rest = all.replace("many", "5").replace(r#""type": "x","#, "");
        assert!(told(&rest, &[]).starts_with("value of color must be one of"), "choices before rules");
        assert_eq!(told(&rest.replace("/x", "").replace("green", "red"), &[]), "a rule");
        assert_eq!(told(&all.replace("dest", "bogus2"), &[]), "missing required arguments: path");
        assert!(told(r#"{"path": "/x", "names": {"a": 1}}"#, &[]).starts_with("argument 'names' is of type dict"));
    }

    #[test]
    fn null_is_the_same_as_absent() {
        assert_eq!(parse(r#"{"path": "/x", "count": null, "color": null}"#).unwrap().count, None);
        assert_eq!(parse(r#"{"path": null}"#).unwrap_err(), ArgError::Missing(vec!["path".into()]));
    }

    #[test]
    fn an_unknown_argument_is_named_with_the_nearest() {
        assert_eq!(
            parse(r#"{"path": "/x", "colour": "red"}"#).unwrap_err().to_string(),
            "Unsupported parameters for (test) module: colour. Supported parameters include: color, count, names, owner, \
             path, type (dest). Did you mean `color`?",
        );
    }

    #[test]
    fn one_wrong_value_makes_no_other_argument_unknown() {
        let error = parse(r#"{"path": "/x", "count": "many", "type": "no"}"#).unwrap_err().to_string();
        assert_eq!(
            error,
            "argument 'count' is of type str and we were unable to convert to int: \"'many'\" cannot be converted to an int"
        );
    }

    #[test]
    fn a_value_outside_the_choices_names_them() {
        let error = parse(r#"{"path": "/x", "color": "green"}"#).unwrap_err().to_string();
        assert_eq!(error, "value of color must be one of: red, blue, got: green");
    }

    #[test]
    fn required_and_default_stand_in_the_spec() {
        let specs: Vec<_> = TestArgs::GROUPS.iter().copied().flatten().map(|s| (s.name, s.required)).collect();
        assert_eq!(specs[0], ("path", true));
        assert!(specs[1..].iter().all(|(_, required)| !required), "{specs:?}");
    }
}
