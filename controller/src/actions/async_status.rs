//! `async_status`: the controller knows the directory of jobs.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use crate::engine::{ExecutionContext, background};

pub(super) struct AsyncStatus;

impl Prepare for AsyncStatus {
    const NAME: &'static str = "ansible.builtin.async_status";
    const RUN_AS: Option<&'static str> = Some("async_status");

    fn prepare<'a>(mut args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        let directory = background::directory(cx).map(|directory| {
            args.insert("_async_dir".to_owned(), directory.into());
            args
        });
        std::future::ready(directory).boxed()
    }
}
