//! The engine's own filters, which are Ansible's as well: under their full names, too, and undefined where what they are
//! given is.

use minijinja::value::Value;
use minijinja::{Environment, State, filters};

use super::params::{Args, plain, undefined_among};

/// Registers each under a name that no author can write, and under Ansible's two names what calls it.
macro_rules! register {
    ($env:ident, $($name:ident)*) => { $(
        let hidden = concat!("\u{1}", stringify!($name));
        $env.add_filter(hidden, filters::$name);
        let call = move |state: &mut State<'_, '_>, args: Args| {
            let args = plain(args);
            undefined_among(&[], &args).map_or_else(|| state.apply_filter(hidden, &args), Ok::<Value, _>)
        };
        $env.add_filter(stringify!($name), call);
        $env.add_filter(concat!("ansible.builtin.", stringify!($name)), call);
    )* };
}

pub(super) fn register(env: &mut Environment<'static>) {
    register!(env,
        abs attr batch capitalize first groupby items lower reverse round slice title upper
    );
}
