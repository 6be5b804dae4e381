# Runs a module out of an archive. The request comes on standard input, so that neither arguments nor secrets are ever in
# a command line or in a file that outlives the task.
import json
import os
import runpy
import sys
import traceback


def run(request):
    archive, module = request["archive"], request["module"]
    sys.path.insert(0, archive)
    sys.argv = [os.path.join(archive, *module.split(".")) + ".py"]
    from ansible.module_utils import basic

    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": request["args"]}).encode("utf-8")
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        basic._ANSIBLE_PROFILE = "legacy"
    names = {"_module_fqn": module, "_modlib_path": archive}
    runpy.run_module(module, init_globals=names, run_name="__main__", alter_sys=True)


def main():
    request = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
    # The module gets a standard input with nothing in it.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # The folder this file is in is no place to import from.
    sys.path.pop(0)
    try:
        run(request)
    except Exception as error:
        sys.stdout.flush()
        failure = {"failed": True, "msg": "Task failed: Module failed: %s" % error, "exception": traceback.format_exc()}
        print("\n" + json.dumps(failure))
        sys.exit(1)


main()
