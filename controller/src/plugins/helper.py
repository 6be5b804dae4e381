"""Runs filter, test and lookup plug-ins in Python for rustle-exec, in a process of its own.

Questions come on standard input, answers go to what was standard output: frames of four bytes, the length of what
follows, high byte first, and JSON. There are two lanes, and in each the next question follows the last answer: lookups,
which may wait for others, run on the main thread; filters and tests on a second one, and never wait for a lookup.

With an installed ansible-core its loaders find and run the plug-ins. Without one, the few names that plug-ins import most
are made here, and the files of plug-in folders are run as they are. Nothing that comes in is a template: text is data.
"""

import importlib.util
import json
import math
import os
import queue
import struct
import sys
import threading
import types
from collections import abc

KINDS = ("filter", "test", "lookup")
FRAME_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 64
BUILTIN = "ansible.builtin."


class Needs(BaseException):
    """A lookup reads variables that it was not given. No `Exception`, so that plug-ins do not take it for an error."""

    def __init__(self, names):
        super().__init__()
        self.names = names


class Variables(dict):
    """Those that were given, of all that there are."""

    def __init__(self, given, names, failed, undefined):
        super().__init__(given)
        self.names, self.failed, self.undefined = set(names), failed, undefined

    def need(self, names):
        missing = [name for name in names if name in self.names and not super(Variables, self).__contains__(name)]
        failed = next((name for name in missing if name in self.failed), None)
        if failed is not None:
            raise self.undefined(self.failed[failed])
        if missing:
            raise Needs(missing)

    def __contains__(self, name):
        return name in self.names or super().__contains__(name)

    def __getitem__(self, name):
        self.need([name])
        return super().__getitem__(name)

    def get(self, name, default=None):
        return self[name] if name in self else default

    def __iter__(self):
        return iter(self.names | set(super().keys()))

    def __len__(self):
        return len(list(iter(self)))

    def keys(self):
        return abc.KeysView(self)

    def values(self):
        return [value for _, value in self.items()]

    def items(self):
        self.need([name for name in self.names if name not in self.failed])
        return super().items()

    def copy(self):
        given = {name: super(Variables, self).__getitem__(name) for name in super().keys()}
        return Variables(given, self.names, self.failed, self.undefined)


class WithAnsible:
    """Plug-ins by the loaders of the ansible-core that is installed."""

    def __init__(self, start):
        from ansible.plugins import loader
        from ansible import errors

        from jinja2 import filters, tests

        loader.init_plugin_loader(start["collections"])
        self.natives = {"filter": filters.FILTERS, "test": tests.TESTS}
        self.undefined = errors.AnsibleUndefinedVariable
        self.loaders = {kind: getattr(loader, kind + "_loader") for kind in KINDS}
        for kind in KINDS:
            for folder in start["folders"][kind]:
                self.loaders[kind].add_directory(folder)

    def full_name(self, kind, name):
        if kind == "lookup":
            return name if self.loaders[kind].get(name, class_only=True) else None
        plugin = self.loaders[kind].get(name)
        if plugin is not None:
            return plugin.ansible_name
        short = self.native_name(name)
        return BUILTIN + short if short in self.natives[kind] else None

    @staticmethod
    def native_name(name):
        """Jinja's own are ansible-core's as well."""
        return name[len(BUILTIN):] if name.startswith(BUILTIN) else name

    def function(self, kind, name):
        plugin = self.loaders[kind].get(name)
        return plugin.j2_function if plugin is not None else self.natives[kind][self.native_name(name)]

    def lookup(self, name, variables):
        data = self.data_loader(variables)
        return self.loaders["lookup"].get(name, loader=data, templar=self.templar(data, variables))

    def environment(self):
        templar = self.templar(self.data_loader({}), {})
        # From 2.19 on the templar is a cover that warns of being asked.
        return getattr(templar, "_engine", templar).environment

    @staticmethod
    def data_loader(variables):
        from ansible.parsing.dataloader import DataLoader

        loader = DataLoader()
        loader.set_basedir(dict.get(variables, "playbook_dir", "."))
        return loader

    @staticmethod
    def templar(loader, variables):
        from ansible.template import Templar

        return Templar(loader=loader, variables=variables)


class Alone:
    """Plug-ins without an ansible-core."""

    def __init__(self, start):
        self.start = start
        self.modules = {}
        self.undefined = make_ansible(start["collections"])

    def files(self, kind, name):
        parts = name.split(".")
        if len(parts) >= 3:
            below = os.path.join("ansible_collections", parts[0], parts[1], "plugins", kind, *parts[2:-1])
            folders = [os.path.join(root, below) for root in self.start["collections"]]
        else:
            folders = self.start["folders"][kind]
        for folder in folders:
            if os.path.isdir(folder):
                yield from (os.path.join(folder, file) for file in sorted(os.listdir(folder)) if file.endswith(".py"))

    def load(self, path):
        if path not in self.modules:
            at = path.find("ansible_collections" + os.sep)
            # Under the name that it has in its collection, for imports beside it.
            name = path[at:-3].replace(os.sep, ".") if at >= 0 else "rustle_plugin_%d" % len(self.modules)
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.modules[path] = module
        return self.modules[path]

    def find(self, kind, name):
        short = name.rsplit(".", 1)[-1]
        for path in self.files(kind, name):
            if kind == "lookup":
                if os.path.basename(path) == short + ".py":
                    return self.load(path).LookupModule
                continue
            maker = getattr(self.load(path), "FilterModule" if kind == "filter" else "TestModule", None)
            known = (maker().filters() if kind == "filter" else maker().tests()) if maker else {}
            if short in known:
                return known[short]
        return None

    def full_name(self, kind, name):
        return None if self.find(kind, name) is None else name

    def function(self, kind, name):
        return self.find(kind, name)

    def lookup(self, name, variables):
        return self.find("lookup", name)(loader=None, templar=Untemplated(variables))

    def environment(self):
        raise RuntimeError("it asks for Jinja's environment, which needs an installed ansible-core")


class Untemplated:
    """What a lookup gets for a templar without an ansible-core: nothing here is a template."""

    def __init__(self, variables):
        self.available_variables = variables

    def template(self, value, *_, **__):
        return value


def make_ansible(collections):
    """The part of `ansible` that plug-ins import most. Gives the error for what is undefined."""

    def module(name, path=(), **names):
        made = types.ModuleType(name)
        made.__path__ = list(path)
        made.__dict__.update(names)
        sys.modules[name] = made
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, made)

    class AnsibleError(Exception):
        def __init__(self, message="", obj=None, show_content=True, suppress_extended_error=False, orig_exc=None, **_):
            super().__init__(message)
            self.message = str(message)

    errors = {"AnsibleError": AnsibleError}
    for name in ("AnsibleFilterError", "AnsibleLookupError", "AnsibleUndefinedVariable", "AnsibleOptionsError",
                 "AnsibleParserError", "AnsiblePluginError", "AnsibleFileNotFound", "AnsibleTemplateError"):
        errors[name] = type(name, (AnsibleError,), {})
    errors["AnsibleFilterTypeError"] = type("AnsibleFilterTypeError", (errors["AnsibleFilterError"], TypeError), {})

    def to_text(value, encoding="utf-8", errors="strict", nonstring="simplerepr"):
        return value.decode(encoding, "replace") if isinstance(value, bytes) else str(value)

    def to_bytes(value, encoding="utf-8", errors="strict", nonstring="simplerepr"):
        return value if isinstance(value, bytes) else str(value).encode(encoding)

    class Display:
        verbosity = 0

        def say(self, message, *_, **__):
            print(message, file=sys.stderr)

        def quiet(self, *_, **__):
            pass

        warning = error = deprecated = display = say
        v = vv = vvv = vvvv = vvvvv = vvvvvv = debug = verbose = quiet

    class LookupBase:
        def __init__(self, loader=None, templar=None, **_):
            self._loader, self._templar, self._options, self._display = loader, templar, {}, Display()

        def set_options(self, task_keys=None, var_options=None, direct=None):
            self._options = dict(direct or {})

        def get_option(self, name, hostvars=None):
            if name not in self._options:
                raise AnsibleError("what its option '%s' is when not given takes an installed ansible-core" % name)
            return self._options[name]

        def get_basedir(self, variables):
            return (variables or {}).get("role_path") or (variables or {}).get("playbook_dir") or "."

        def find_file_in_search_path(self, variables, subdir, needle, ignore_missing=False):
            variables = variables or {}
            folders = list(variables.get("ansible_search_path") or []) + [self.get_basedir(variables)]
            for folder in folders:
                for path in (os.path.join(folder, subdir, needle), os.path.join(folder, needle)):
                    if os.path.exists(path):
                        return path
            if ignore_missing:
                return None
            raise errors["AnsibleFileNotFound"]("Unable to find '%s' in expected paths" % needle)

        @staticmethod
        def _flatten(terms):
            return [item for term in terms for item in (term if isinstance(term, (list, tuple)) else [term])]

        @staticmethod
        def _combine(a, b):
            return [LookupBase._flatten([x, y]) for x in a for y in b]

    texts = {"to_text": to_text, "to_native": to_text, "to_bytes": to_bytes}
    module("ansible")
    module("ansible.errors", **errors)
    module("ansible.module_utils")
    module("ansible.module_utils._text", **texts)
    module("ansible.module_utils.common")
    module("ansible.module_utils.common.text")
    module("ansible.module_utils.common.text.converters", **texts)
    module("ansible.module_utils.common.collections", Mapping=abc.Mapping, Sequence=abc.Sequence,
           is_sequence=lambda value: isinstance(value, abc.Sequence) and not isinstance(value, (str, bytes)))
    module("ansible.module_utils.six", string_types=(str,), text_type=str, binary_type=bytes, integer_types=(int,),
           iteritems=lambda mapping: iter(mapping.items()))
    module("ansible.utils")
    module("ansible.utils.display", Display=Display)
    module("ansible.plugins")
    module("ansible.plugins.lookup", LookupBase=LookupBase)
    roots = [os.path.join(root, "ansible_collections") for root in collections]
    module("ansible_collections", path=filter(os.path.isdir, roots))
    return errors["AnsibleUndefinedVariable"]


def plain(value, depth=0):
    """The value as JSON has it."""
    if depth > DEPTH_MAX:
        raise ValueError("its result is nested deeper than %d levels" % DEPTH_MAX)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError("the whole number %d does not fit into 64 bits" % value)
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("its result has the number %r, which is none of JSON" % value)
        return float(value)
    if isinstance(value, (str, bytes)):
        # Halves of surrogate pairs are no JSON, and Python has them for bytes that are no text.
        encoded = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        return encoded.decode("utf-8", "replace")
    if isinstance(value, abc.Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, abc.Iterable):
        return [plain(item, depth + 1) for item in value]
    if type(value).__module__ == "datetime":
        return str(value)
    raise TypeError("Type '%s' is unsupported for variable storage." % type(value).__name__)


class Server:
    def __init__(self, plugins, answers):
        self.plugins, self.answers = plugins, answers
        self.writing, self.loading = threading.Lock(), threading.Lock()

    def serve(self, questions):
        while True:
            question = questions.get()
            try:
                answer = self.answer(question)
            except Needs as needs:
                answer = {"needs": needs.names}
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                answer = {"error": str(error) or type(error).__name__}
            self.write(question["lane"], answer)

    def answer(self, question):
        op, kind = question["op"], question["kind"]
        if op == "find":
            return {"ok": self.find(kind, question["name"])}
        if kind == "lookup":
            return {"ok": self.look_up(question)}
        result = self.function(kind, question["name"])(*question["args"], **question["kwargs"])
        return {"ok": bool(result) if kind == "test" else plain(result)}

    def find(self, kind, name):
        with self.loading:
            try:
                return self.plugins.full_name(kind, name)
            except Exception as error:
                # A name of before the plug-in moved into a collection, which is not there.
                if isinstance(error, KeyError) and "." not in name:
                    return None
                # Ansible's sentence.
                raise RuntimeError("The %s plugin '%s' failed to load: %s" % (kind, name, error)) from error

    def function(self, kind, name):
        with self.loading:
            function = self.plugins.function(kind, name)
        passed = getattr(getattr(function, "jinja_pass_arg", None), "name", None)
        if passed is None:
            return function
        if passed == "context":
            raise RuntimeError("it asks for Jinja's context, which there is none of")
        with self.loading:
            environment = self.plugins.environment()
        if passed == "eval_context":
            from jinja2.nodes import EvalContext

            environment = EvalContext(environment)
        return lambda *args, **kwargs: function(environment, *args, **kwargs)

    def look_up(self, question):
        variables = Variables(question["variables"], question["names"], question["failed"], self.plugins.undefined)
        with self.loading:
            lookup = self.plugins.lookup(question["name"], variables)
        found = lookup.run(question["args"], variables=variables, **question["kwargs"])
        return plain(found if isinstance(found, list) else list(found))

    def write(self, lane, answer):
        text = json.dumps(dict(answer, lane=lane)).encode()
        if len(text) > FRAME_BYTES_MAX:
            text = json.dumps({"lane": lane, "error": "its result is larger than %d bytes" % FRAME_BYTES_MAX}).encode()
        with self.writing:
            self.answers.write(struct.pack(">I", len(text)) + text)
            self.answers.flush()


def read(stream):
    """The next question; none where there will be no more."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    text = stream.read(length)
    return json.loads(text) if len(text) == length <= FRAME_BYTES_MAX else None


def receive(questions, lanes):
    """Hands out questions, and ends the process with the last one, whatever a plug-in may be doing then."""
    while True:
        question = read(questions)
        if question is None:
            os._exit(0)
        lanes[question["lane"]].put(question)


def main():
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What a plug-in prints is no answer, and it has nothing to read.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = [folder for folder in sys.path if folder]
    start = read(questions)
    if start is None:
        return
    server = Server(None, answers)
    try:
        if start["library"]:
            sys.path.insert(0, start["library"])
        server.plugins = WithAnsible(start) if importlib.util.find_spec("ansible") else Alone(start)
    except Exception as error:
        server.write(start["lane"], {"error": "%s: %s" % (type(error).__name__, error)})
        return
    server.write(start["lane"], {"ok": None})
    lanes = {"lookups": queue.Queue(), "filters": queue.Queue()}
    threading.Thread(target=receive, args=(questions, lanes), daemon=True).start()
    threading.Thread(target=server.serve, args=(lanes["filters"],), daemon=True).start()
    server.serve(lanes["lookups"])


main()
