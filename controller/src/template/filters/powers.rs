//! Powers, roots and logarithms.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use super::params::{Filter, Params, add_filters};
use super::python_type;
use crate::template::convert::failed;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(env, &[Filter("log", &["base"], log), Filter("pow", &["y"], pow), Filter("root", &["base"], root)]);
}

fn log(value: &Value, params: &Params) -> Result<Value, Error> {
    let value = number(value, "log")?;
    let base = params.get("base").map(|base| number(base, "log")).transpose()?;
    if value <= 0.0 || base.is_some_and(|base| base <= 0.0) {
        return Err(failed(OUT_OF_DOMAIN));
    }
    Ok(Value::from(match base {
        Some(1.0) => return Err(failed(DIVISION)),
        Some(10.0) => value.log10(),
        Some(base) => value.ln() / base.ln(),
        None => value.ln(),
    }))
}

fn pow(value: &Value, params: &Params) -> Result<Value, Error> {
    let (value, exponent) = (number(value, "pow")?, number(params.need("y")?, "pow")?);
    power(value, exponent).map(Value::from).map_err(failed)
}

fn root(value: &Value, params: &Params) -> Result<Value, Error> {
    let base = match params.get("base") {
        None => 2.0,
        Some(text) if text.as_str().is_some() => {
            let text = text.as_str().unwrap_or_default();
            let parsed = text.trim().parse();
            parsed.map_err(|_| refused("root", &format!("could not convert string to float: '{text}'")))?
        }
        Some(base) => number(base, "root")?,
    };
    let value = number(value, "root")?;
    if base == 0.0 {
        return Err(failed(DIVISION));
    }
    let root = if base == 2.0 && value < 0.0 { Err(OUT_OF_DOMAIN) } else { power(value, 1.0 / base) };
    let root = root.map_err(|why| refused("root", why))?;
    // 27 has the cube root 3, not 3.0000000000000004.
    let is_whole = root.round().powf(base) == value;
    Ok(Value::from(if is_whole { root.round() } else { root }))
}

const OUT_OF_DOMAIN: &str = "math domain error";
const OUT_OF_RANGE: &str = "math range error";
const DIVISION: &str = "float division by zero";

fn power(value: f64, exponent: f64) -> Result<f64, &'static str> {
    let power = value.powf(exponent);
    if power.is_nan() || (value == 0.0 && exponent < 0.0) {
        return Err(OUT_OF_DOMAIN);
    }
    if power.is_infinite() && value.is_finite() && exponent.is_finite() {
        return Err(OUT_OF_RANGE);
    }
    Ok(power)
}

fn number(value: &Value, filter: &str) -> Result<f64, Error> {
    if value.kind() == ValueKind::Bool {
        return Ok(f64::from(u8::from(value.is_true())));
    }
    f64::try_from(value.clone())
        .map_err(|_| refused(filter, &format!("must be real number, not {}", python_type(value))))
}

fn refused(filter: &str, why: &str) -> Error {
    failed(format!("{filter}() can only be used on numbers: {why}"))
}
