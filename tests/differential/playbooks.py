"""Runs playbooks with Ansible, each in a process of its own and in the folder it stands in.

Reads a JSON list of {"folder", "args", "settings"}; writes one line of JSON per playbook, in that order: its exit code, what became of
every task on every host, and what it wrote to its standard output. Ansible is imported once and forked, which is most of what a small playbook costs;
a case with settings (variables of the environment, which may be none where there is an ansible.cfg) gets one of its own, which reads them.
"""

import json
import os
import sys

os.environ["ANSIBLE_CALLBACK_PLUGINS"] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "callback")
os.environ["ANSIBLE_CALLBACKS_ENABLED"] = "recorder"
os.environ["ANSIBLE_DEPRECATION_WARNINGS"] = "0"
os.environ["ANSIBLE_NOCOLOR"] = "1"
os.environ["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
os.environ["ANSIBLE_LOCALHOST_WARNING"] = "0"

from ansible.cli.playbook import PlaybookCLI  # noqa: E402 (the environment is read when it is imported)


def run(case):
    """Ends the process with the playbook's exit code."""
    os.chdir(case["folder"])
    os.dup2(os.open(case["said"], os.O_WRONLY | os.O_CREAT), 1)
    silence = os.open(os.devnull, os.O_WRONLY)
    if "KEEP_STDERR" not in os.environ:
        os.dup2(silence, 2)
    settings = case.get("settings")
    if settings is not None:
        command = [sys.executable, "-c", "from ansible.cli.playbook import main; main()", *case["args"]]
        os.execve(sys.executable, command, os.environ | settings)
    try:
        code = PlaybookCLI(["ansible-playbook", *case["args"]]).run()
    except SystemExit as ended:
        code = ended.code
    except Exception as failed:
        code = getattr(failed, "_exit_code", 1) or 1
    os._exit(int(code or 0))


def main():
    for case in json.load(sys.stdin):
        os.environ["RECORDED"] = recorded = os.path.join(case["folder"], "recorded.jsonl")
        case["said"] = os.path.join(case["folder"], "said.txt")
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            run(case)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        lines = open(recorded).readlines() if os.path.exists(recorded) else []
        said = open(case["said"], encoding="utf-8").read()
        print(json.dumps({"code": code, "results": [json.loads(line) for line in lines], "said": said}))


main()
