"""Writes what became of every task on every host to the file that RECORDED names, one line of JSON each; prints nothing."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: notification
short_description: keeps results for a comparison
description: Keeps results for a comparison.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def keep(self, status, result):
        task = result._task_fields.get("name") or result._task.action
        line = {"task": task, "host": result._host.get_name(), "status": status, "values": result._return_data}
        with open(os.environ["RECORDED"], "a") as recorded:
            recorded.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self.keep("changed" if result._return_data.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.keep("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self.keep("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self.keep("unreachable", result)
