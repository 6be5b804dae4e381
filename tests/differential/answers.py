"""What Ansible makes of templates and conditions: reads a JSON document, writes one line of JSON per case."""

import json
import sys

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template


def trusted(value):
    """The value as if an author had written it: its text may be a template."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    return value


def answer(loader, variables, case):
    # A templar of its own for each case: some change the variables they are given.
    templar = Templar(loader=loader, variables=trusted(variables))
    try:
        if "condition" in case:
            value = templar.evaluate_conditional(trust_as_template(case["condition"]))
        else:
            value = templar.template(trust_as_template(case["template"]))
        return {"expected": json.loads(json.dumps(value))}
    except Exception as error:
        # A condition of a play has a place; these have none.
        return {"error": str(error).replace(" at '<unknown>'", "")}


def main():
    init_plugin_loader([])
    asked = json.load(sys.stdin)
    loader = DataLoader()
    loader.set_basedir(asked["folder"])
    for case in asked["cases"]:
        print(json.dumps(answer(loader, asked["vars"], case)))


main()
