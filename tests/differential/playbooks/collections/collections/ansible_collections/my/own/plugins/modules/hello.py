#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec=dict(name=dict(default="nobody")))
module.exit_json(changed=False, hello=module.params["name"])
