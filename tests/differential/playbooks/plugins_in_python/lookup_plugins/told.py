from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        if "fail" in terms:
            raise AnsibleError("as asked")
        who = variables.get("who", "nobody")
        known = "never_rendered" in variables
        return [{"term": term, "mark": kwargs.get("mark"), "who": who, "known": known} for term in terms]
