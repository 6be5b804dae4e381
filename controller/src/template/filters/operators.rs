//! Python's operators, which templates call where they are written between their operands, and the tests that compare.

use std::cmp::Ordering;

use minijinja::value::{StringInput, Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::params::{Args, Params, defined, items, named, plain};
use super::{percent, python_type, times};
use crate::template::engine::refuse_undefined;
use crate::template::python;
use crate::template::rewrite::{ITERATED, OPERATE};
use crate::template::sealed::refuse_closed;
use crate::vars::Scope;

/// What `text * n` may give, in bytes: beyond it a template has gone wrong.
const REPEATED_TEXT_MAX: u128 = 100_000_000;

/// Items that `list * n` may give.
const REPEATED_ITEMS_MAX: u128 = 1_000_000;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(OPERATE, operate);
    env.add_filter(ITERATED, iterated);
    for (name, divisor, rest) in [("divisibleby", None, 0.0), ("even", Some(2), 0.0), ("odd", Some(2), 1.0)] {
        let test = move |state: &mut State<'_, '_>, value: &Value, args: Args| {
            let left = remainder(state, value, divisor, &plain(args));
            left.map(|left| left == rest).map_err(|error| named("test", name, error))
        };
        env.add_test(name, test);
        env.add_test(format!("ansible.builtin.{name}"), test);
    }
    for (names, operator) in ORDERS {
        let canonical = names[0];
        let test = move |value: &Value, args: Args| {
            defined(value)?;
            let tested = Params::bind(canonical, &["other"], &plain(args)).and_then(|params| {
                let right = params.need("other")?;
                compare(operator, value, right)
                    .map_err(|(a, b)| not_ordered(operator, tagged(&a), instance(&b, Written::default())))
            });
            tested.map_err(|error| named("test", canonical, error))
        };
        for name in *names {
            env.add_test(*name, test);
            env.add_test(format!("ansible.builtin.{name}"), test);
        }
    }
}

/// The names of tests, the one that Ansible says first.
const ORDERS: &[(&[&str], &str)] = &[
    (&["lt", "<", "lessthan"], "<"),
    (&["le", "<="], "<="),
    (&["gt", ">", "greaterthan"], ">"),
    (&["ge", ">="], ">="),
];

/// What a loop goes through, if Python can.
fn iterated(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            Err(refused(format!("'{}' object is not iterable", python_type(value))))
        }
        _ => Ok(value.clone()),
    }
}

/// What a division leaves, by a test's argument where the test does not say by what.
fn remainder(state: &State<'_, '_>, value: &Value, divisor: Option<i64>, args: &[Value]) -> Result<f64, Error> {
    defined(value)?;
    let names: &[&str] = if divisor.is_some() { &[] } else { &["num"] };
    let params = Params::bind("the test", names, args)?;
    let right = match divisor {
        Some(divisor) => Value::from(divisor),
        None => params.need("num")?.clone(),
    };
    let operation = Operation { operator: "%", left: value, right: &right, words: (None, "*"), state };
    let left = operation.remainder()?;
    Ok(Number::of(&left).map_or(f64::NAN, Number::float))
}

/// What a template says of an operand, for the name of its type.
#[derive(Clone, Copy, Default)]
enum Written {
    /// A variable, or what is found in it, that an author wrote.
    Authored,
    /// A list, dict or tuple that stands in the template.
    Literal,
    #[default]
    Other,
}

impl Written {
    fn of(word: &str, state: &State<'_, '_>) -> Written {
        match word {
            "[" => Written::Literal,
            "*" => Written::Other,
            name => match Scope::of_state(state).and_then(|scope| scope.authored(name)) {
                Some(_) => Written::Authored,
                None => Written::Other,
            },
        }
    }
}

/// The class of a value as Ansible's errors name it: what comes from variables and filters has classes of Ansible's own.
fn instance(value: &Value, written: Written) -> &'static str {
    match (python_type(value), written) {
        ("str", Written::Authored) => "_AnsibleTaggedStr",
        ("list", Written::Authored | Written::Other) => "_AnsibleLazyTemplateList",
        ("dict", Written::Authored | Written::Other) => "_AnsibleLazyTemplateDict",
        ("datetime", _) => "datetime.datetime",
        ("timedelta", _) => "datetime.timedelta",
        (name, _) => name,
    }
}

/// As [`instance`], of what a filter is given.
pub(super) fn class(value: &Value) -> &'static str {
    instance(value, Written::Other)
}

fn tagged(value: &Value) -> &'static str {
    instance(value, Written::Authored)
}

/// One operator with what stands around it.
struct Operation<'a> {
    operator: &'a str,
    left: &'a Value,
    right: &'a Value,
    /// What is said of the operands; none for a value that came of another operator.
    words: (Option<&'a str>, &'a str),
    state: &'a State<'a, 'a>,
}

impl Operation<'_> {
    fn left_type(&self) -> &'static str {
        instance(self.left, self.words.0.map_or(Written::Other, |word| Written::of(word, self.state)))
    }

    fn right_type(&self) -> &'static str {
        instance(self.right, Written::of(self.words.1, self.state))
    }

    fn unsupported(&self, operator: &str) -> Error {
        refused(format!(
            "unsupported operand type(s) for {operator}: '{}' and '{}'",
            self.left_type(),
            self.right_type()
        ))
    }
}

/// An error in Python's words; what was to be rendered is said around it.
fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

fn not_ordered(operator: &str, left: &str, right: &str) -> Error {
    refused(format!("'{operator}' not supported between instances of '{left}' and '{right}'"))
}

/// `value`, and pairs of `left operator right` and the next operand. Operators of one level follow each other from the
/// left; comparisons hold if all do.
fn operate(state: &mut State<'_, '_>, value: Value, args: Args) -> Result<Value, Error> {
    let args = plain(args);
    args.iter().chain([&value]).try_for_each(refuse_closed)?;
    if let [operator] = &args[..] {
        sound(&value)?;
        return signed(state, operator.as_str().unwrap_or_default(), &value);
    }
    let mut left = value;
    let mut first_word = None;
    let mut holds = None;
    for pair in args.chunks_exact(2) {
        let right = &pair[1];
        let words: Vec<&str> = pair[0].as_str().unwrap_or_default().split(' ').collect();
        let (operator, right_word) = match &words[..] {
            [word, operator @ .., right] if first_word.is_none() && holds.is_none() => {
                first_word = Some((*word).to_owned());
                (operator.join(" "), *right)
            }
            [operator @ .., right] => (operator.join(" "), *right),
            [] => continue,
        };
        let operation =
            Operation { operator: &operator, left: &left, right, words: (first_word.as_deref(), right_word), state };
        let result = operation.result()?;
        match result {
            Outcome::Holds(now) => {
                holds = Some(now);
                if !now {
                    break;
                }
                left = right.clone();
                first_word = Some(right_word.to_owned());
            }
            Outcome::Value(value) => {
                left = value;
                first_word = Some("*".to_owned());
            }
        }
    }
    Ok(holds.map_or(left, Value::from))
}

/// Undefined values, and those that are an error, end here.
fn sound(value: &Value) -> Result<(), Error> {
    defined(value)?;
    match value.kind() {
        ValueKind::Invalid => value.try_iter().map(drop),
        _ => Ok(()),
    }
}

/// `-a` and `+a`.
fn signed(state: &State<'_, '_>, text: &str, value: &Value) -> Result<Value, Error> {
    let (sign, word) = text.split_once(' ').unwrap_or((text, "*"));
    match (sign, Number::of(value)) {
        ("-", Some(Number::Whole(whole))) => whole.checked_neg().map(whole_value).ok_or_else(too_large),
        ("-", Some(Number::Float(float))) => Ok(Value::from(-float)),
        (_, Some(number)) => Ok(number.value()),
        (_, None) => {
            Err(refused(format!("bad operand type for unary {sign}: '{}'", instance(value, Written::of(word, state)))))
        }
    }
}

enum Outcome {
    Holds(bool),
    Value(Value),
}

impl Operation<'_> {
    fn result(&self) -> Result<Outcome, Error> {
        let (left, right) = (self.left, self.right);
        if self.operator == "~" {
            return Ok(Outcome::Value(Value::from(self.text(left)? + &self.text(right)?)));
        }
        sound(left)?;
        sound(right)?;
        Ok(match self.operator {
            "==" => Outcome::Holds(left == right),
            "!=" => Outcome::Holds(left != right),
            "in" => Outcome::Holds(self.is_in()?),
            "not in" => Outcome::Holds(!self.is_in()?),
            "<" | "<=" | ">" | ">=" => Outcome::Holds(self.compare()?),
            "+" => Outcome::Value(self.add()?),
            "-" => Outcome::Value(self.subtract()?),
            "*" => Outcome::Value(self.multiply()?),
            "/" => Outcome::Value(self.divide()?),
            "//" => Outcome::Value(self.divide_down()?),
            "%" => Outcome::Value(self.remainder()?),
            _ => Outcome::Value(self.power()?),
        })
    }

    /// An operand as text; of an inline `if` without `else` that holds not there is none.
    fn text(&self, value: &Value) -> Result<String, Error> {
        if value.is_undefined() && StringInput::new(self.state, value).is_ok() {
            return Ok(String::new());
        }
        sound(value)?;
        refuse_undefined(value)?;
        Ok(python::text(value))
    }

    fn compare(&self) -> Result<bool, Error> {
        compare(self.operator, self.left, self.right).map_err(|(a, b)| {
            // Inside of lists it is their items that have no order.
            let is_whole = |value: &Value, part: &Value| value == part && value.kind() == part.kind();
            if is_whole(self.left, &a) && is_whole(self.right, &b) {
                return not_ordered(self.operator, self.left_type(), self.right_type());
            }
            not_ordered(self.operator, python_type(&a), python_type(&b))
        })
    }

    fn is_in(&self) -> Result<bool, Error> {
        let (item, container) = (self.left, self.right);
        match container.kind() {
            ValueKind::String => match item.as_str() {
                Some(part) => Ok(container.as_str().unwrap_or_default().contains(part)),
                None => {
                    let kind = self.left_type();
                    Err(refused(format!("'in <string>' requires string as left operand, not {kind}")))
                }
            },
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                Err(refused(format!("argument of type '{}' is not iterable", self.right_type())))
            }
            ValueKind::Map => match item.kind() {
                ValueKind::Seq | ValueKind::Iterable if !item.is_tuple() => {
                    Err(refused(format!("unhashable type: '{}'", self.left_type())))
                }
                ValueKind::Map => Err(refused(format!("unhashable type: '{}'", self.left_type()))),
                _ => Ok(container.as_object().is_some_and(|object| object.get_value(item).is_some())),
            },
            _ => {
                for other in container.try_iter()?.checked() {
                    let other = other?;
                    defined(&other)?;
                    if other == *item {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn numbers(&self) -> Option<(Number, Number)> {
        Some((Number::of(self.left)?, Number::of(self.right)?))
    }

    fn add(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(a), Number::Whole(b))) => {
                return a.checked_add(b).map(whole_value).ok_or_else(too_large);
            }
            Some((a, b)) => return Ok(Value::from(a.float() + b.float())),
            None => {}
        }
        if let Some(sum) = times::sum(self.left, self.right) {
            return sum;
        }
        let kind = sequence(self.left);
        match (kind, sequence(self.right)) {
            (Some("str"), Some("str")) => Ok(Value::from(python::text(self.left) + &python::text(self.right))),
            (Some("list"), Some("list")) => Ok(Value::from([items(self.left)?, items(self.right)?].concat())),
            (Some("tuple"), Some("tuple")) => {
                Ok(Value::from(Tuple::from([items(self.left)?, items(self.right)?].concat())))
            }
            (Some(kind), _) => {
                let other = self.right_type();
                Err(refused(format!("can only concatenate {kind} (not \"{other}\") to {kind}")))
            }
            (None, _) => Err(self.unsupported("+")),
        }
    }

    fn subtract(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(a), Number::Whole(b))) => a.checked_sub(b).map(whole_value).ok_or_else(too_large),
            Some((a, b)) => Ok(Value::from(a.float() - b.float())),
            None => times::difference(self.left, self.right).unwrap_or_else(|| Err(self.unsupported("-"))),
        }
    }

    fn multiply(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(a), Number::Whole(b))) => {
                return a.checked_mul(b).map(whole_value).ok_or_else(too_large);
            }
            Some((a, b)) => return Ok(Value::from(a.float() * b.float())),
            None => {}
        }
        match (sequence(self.left), sequence(self.right)) {
            (Some(_), None) => self.repeated(self.left, self.right, self.right_type()),
            (None, Some(_)) => self.repeated(self.right, self.left, self.left_type()),
            (Some("list"), Some(_)) if self.left_type() != "list" => {
                Err(refused(format!("'{}' object cannot be interpreted as an integer", self.right_type())))
            }
            (Some(_), Some(_)) => {
                Err(refused(format!("can't multiply sequence by non-int of type '{}'", self.right_type())))
            }
            (None, None) => Err(self.unsupported("*")),
        }
    }

    fn repeated(&self, sequence: &Value, count: &Value, count_type: &str) -> Result<Value, Error> {
        let Some(Number::Whole(count)) = Number::of(count) else {
            let is_number = matches!(Number::of(count), Some(Number::Float(_)));
            let has_words = is_number || count.is_none() || count.kind() == ValueKind::Map;
            return Err(match has_words {
                true => refused(format!("can't multiply sequence by non-int of type '{count_type}'")),
                false => self.unsupported("*"),
            });
        };
        let count = u128::try_from(count).unwrap_or(0);
        let within = |len: usize, max: u128| count.checked_mul(len as u128).is_some_and(|all| all <= max);
        let times = |len: usize, max| match within(len, max) {
            true => usize::try_from(count).map_err(|_| too_large()),
            false => Err(too_large()),
        };
        if let Some(text) = sequence.as_str() {
            return Ok(Value::from(if text.is_empty() {
                String::new()
            } else {
                text.repeat(times(text.len(), REPEATED_TEXT_MAX)?)
            }));
        }
        let list = items(sequence)?;
        let list =
            if list.is_empty() { list } else { vec![list.clone(); times(list.len(), REPEATED_ITEMS_MAX)?].concat() };
        Ok(if sequence.is_tuple() { Value::from(Tuple::from(list)) } else { Value::from(list) })
    }

    fn divide(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(_), Number::Whole(0))) => Err(refused("division by zero")),
            Some((_, b)) if b.float() == 0.0 => Err(refused("float division by zero")),
            Some((a, b)) => Ok(Value::from(a.float() / b.float())),
            None => Err(self.unsupported("/")),
        }
    }

    fn divide_down(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(_), Number::Whole(0))) => Err(refused("integer division or modulo by zero")),
            Some((Number::Whole(a), Number::Whole(b))) => {
                whole_division(a, b).map(|(quotient, _)| whole_value(quotient)).ok_or_else(too_large)
            }
            Some((_, b)) if b.float() == 0.0 => Err(refused("float floor division by zero")),
            Some((a, b)) => Ok(Value::from(float_division(a.float(), b.float()).0)),
            None => Err(self.unsupported("//")),
        }
    }

    fn remainder(&self) -> Result<Value, Error> {
        if let Some(format) = self.left.as_str() {
            let kind = self.right_type();
            return percent::format_as(format, self.right, kind).map(Value::from);
        }
        match self.numbers() {
            Some((Number::Whole(_), Number::Whole(0))) => Err(refused("integer modulo by zero")),
            Some((Number::Whole(a), Number::Whole(b))) => {
                whole_division(a, b).map(|(_, remainder)| whole_value(remainder)).ok_or_else(too_large)
            }
            Some((_, b)) if b.float() == 0.0 => Err(refused("float modulo")),
            Some((a, b)) => Ok(Value::from(float_division(a.float(), b.float()).1)),
            None => Err(self.unsupported("%")),
        }
    }

    fn power(&self) -> Result<Value, Error> {
        match self.numbers() {
            Some((Number::Whole(a), Number::Whole(b))) if b >= 0 => {
                let power = u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
                // These have no bound for the exponent.
                let small = matches!(a, 0 | 1).then_some(a).filter(|_| b > 0);
                power.or(small).map(whole_value).ok_or_else(too_large)
            }
            Some((a, b)) if a.float() == 0.0 && b.float() < 0.0 => {
                Err(refused("0.0 cannot be raised to a negative power"))
            }
            Some((a, b)) => {
                let (a, b) = (a.float(), b.float());
                let power = a.powf(b);
                match (power.is_infinite() && a.is_finite() && b.is_finite(), power.is_nan() && !a.is_nan()) {
                    (true, _) => Err(refused("(34, 'Numerical result out of range')")),
                    (_, true) if !b.is_nan() => Err(refused("a complex number is no value of a template")),
                    _ => Ok(Value::from(power)),
                }
            }
            None => Err(self.unsupported("** or pow()")),
        }
    }
}

fn too_large() -> Error {
    refused("the result is too large")
}

/// The kind of sequence that Python's `+` and `*` know.
fn sequence(value: &Value) -> Option<&'static str> {
    Some(match value.kind() {
        ValueKind::String => "str",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq | ValueKind::Iterable => "list",
        _ => return None,
    })
}

/// A number as Python computes with it; `true` is one.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        match value.kind() {
            ValueKind::Bool => Some(Number::Whole(i128::from(value.is_true()))),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Number::Whole),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Number::Float),
            _ => None,
        }
    }

    fn float(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Float(float) => float,
        }
    }

    fn value(self) -> Value {
        match self {
            Number::Whole(whole) => whole_value(whole),
            Number::Float(float) => Value::from(float),
        }
    }
}

fn whole_value(whole: i128) -> Value {
    i64::try_from(whole).map_or_else(|_| Value::from(whole), Value::from)
}

/// Quotient and remainder, rounded down.
fn whole_division(a: i128, b: i128) -> Option<(i128, i128)> {
    let (quotient, remainder) = (a.checked_div(b)?, a.checked_rem(b)?);
    match remainder != 0 && (remainder < 0) != (b < 0) {
        true => Some((quotient - 1, remainder + b)),
        false => Some((quotient, remainder)),
    }
}

/// Quotient and remainder, rounded down; the remainder has the sign of `b`.
fn float_division(a: f64, b: f64) -> (f64, f64) {
    let remainder = a % b;
    let crosses = remainder != 0.0 && (remainder < 0.0) != (b < 0.0);
    let remainder = if crosses { remainder + b } else { remainder };
    // What is left is a multiple of `b`, up to the error of the subtraction.
    let quotient = ((a - remainder) / b).round();
    (
        if quotient == 0.0 { 0.0_f64.copysign(a / b) } else { quotient },
        if remainder == 0.0 { 0.0_f64.copysign(b) } else { remainder },
    )
}

/// Whether an order holds.
///
/// # Errors
/// The two values, or items of theirs, between which Python has no order.
fn compare(operator: &str, a: &Value, b: &Value) -> Result<bool, (Value, Value)> {
    let order = order(a, b)?;
    Ok(order.is_some_and(|order| match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// The order of two values, none where one of them is not a number (`nan`).
///
/// # Errors
/// Those of [`compare`].
pub(super) fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, (Value, Value)> {
    let unordered = || (a.clone(), b.clone());
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Whole(a)), Some(Number::Whole(b))) => return Ok(Some(a.cmp(&b))),
        (Some(x), Some(y)) => return Ok(x.float().partial_cmp(&y.float())),
        _ => {}
    }
    match (a.kind(), b.kind()) {
        (ValueKind::String, ValueKind::String) | (ValueKind::Bytes, ValueKind::Bytes) => Ok(Some(a.cmp(b))),
        (ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable)
            if a.is_tuple() == b.is_tuple() =>
        {
            let (Ok(left), Ok(right)) = (items(a), items(b)) else { return Err(unordered()) };
            match left.iter().zip(&right).find(|(a, b)| a != b) {
                Some((a, b)) => order(a, b),
                None => Ok(Some(left.len().cmp(&right.len()))),
            }
        }
        (ValueKind::Plain, ValueKind::Plain) if python_type(a) == python_type(b) && python_type(a) != "object" => {
            Ok(Some(a.cmp(b)))
        }
        _ => Err(unordered()),
    }
}
