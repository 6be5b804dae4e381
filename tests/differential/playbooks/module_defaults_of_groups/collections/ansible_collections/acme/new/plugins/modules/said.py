from ansible.module_utils.basic import AnsibleModule

if __name__ == "__main__":
    module = AnsibleModule(argument_spec={"word": {"type": "str"}, "number": {"type": "int"}}, supports_check_mode=True)
    module.exit_json(changed=False, word=module.params["word"], number=module.params["number"])
