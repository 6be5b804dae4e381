//! Which proxy is asked instead of a server.

use ureq::Proxy;

use crate::module::{Doing, ModuleContext, ModuleError};

/// The proxy that the task's environment, else the agent's, names for the URL's scheme.
///
/// # Errors
/// What it names is no proxy.
pub(super) fn of(url: &str, cx: &ModuleContext<'_>) -> Result<Option<Proxy>, ModuleError> {
    let scheme = url.split_once("://").map_or("http", |(scheme, _)| scheme);
    for scheme in [scheme, "all"] {
        let name = format!("{scheme}_proxy");
        let Some(named) = variable(&name, cx) else { continue };
        let proxy = Proxy::new(&named).doing(|| format!("use {named}, which {name} names, as proxy"))?;
        return match variable("no_proxy", cx) {
            Some(exceptions) => with_exceptions(&proxy, &exceptions).map(Some),
            None => Ok(Some(proxy)),
        };
    }
    Ok(None)
}

fn with_exceptions(proxy: &Proxy, exceptions: &str) -> Result<Proxy, ModuleError> {
    let mut builder = Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
    if let Some(user) = proxy.username() {
        builder = builder.username(user);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    builder = exceptions.split(',').map(str::trim).fold(builder, |builder, host| builder.no_proxy(host));
    builder.build().doing(|| format!("use the proxy {}", proxy.host()))
}

/// A variable by its small name, else by its big one; an empty one is none.
fn variable(name: &str, cx: &ModuleContext<'_>) -> Option<String> {
    let value = |name: &str| cx.variable(name).filter(|value| !value.is_empty());
    value(name).or_else(|| value(&name.to_ascii_uppercase()))
}
