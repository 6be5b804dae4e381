//! `setup`: the agent is told which Python the host's variables name, since facts tell of it.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use crate::custom::interpreter;
use crate::engine::ExecutionContext;

pub(super) struct Setup;

impl Prepare for Setup {
    const NAME: &'static str = "ansible.builtin.setup";
    const SUPPORTS_ASYNC: bool = true;
    const IS_ACTION: bool = false;

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        std::future::ready(with_interpreter(args, cx)).boxed()
    }
}

fn with_interpreter(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    if let Some(words) = interpreter("python", cx)? {
        args.insert("_interpreter".to_owned(), words.into_iter().map(Value::from).collect());
    }
    Ok(args)
}
