DOCUMENTATION = """
name: here
short_description: A test's.
description: A test's.
options:
  _terms:
    description: Names.
  depth:
    description: How far.
    type: int
    default: 1
    vars:
      - name: here_depth
"""

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        return [[term, self.get_option("depth")] for term in terms]
