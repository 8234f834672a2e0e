"""What comes from outside is never run: no pickle, no eval, no shell, no loader that would unpickle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("scanner_bridge", "realtime", "offline_training")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}


def name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def complaints(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: imports {module}" for module in modules
                      if module.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            called = name_of(node.func)
            if called in FORBIDDEN_CALLS or called.endswith((".recv_pyobj", ".send_pyobj")):
                found.append(f"line {node.lineno}: calls {called}")
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if (keyword.arg == "shell" and value is not False) or (keyword.arg == "allow_pickle" and value):
                    found.append(f"line {node.lineno}: {called} with {keyword.arg}={value}")
                if called == "torch.load" and keyword.arg == "weights_only" and value is not True:
                    found.append(f"line {node.lineno}: {called} with weights_only={value}")
            if called == "torch.load" and "weights_only" not in {keyword.arg for keyword in node.keywords}:
                found.append(f"line {node.lineno}: {called} without weights_only=True")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_from_outside_is_run(package: str) -> None:
    found = {str(path.relative_to(ROOT)): complaints(ast.parse(path.read_text(encoding="utf-8")))
             for path in (ROOT / package).rglob("*.py")}
    assert len(found) > 5
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("code", [
    "import pickle", "from pickle import loads", "eval('1')", "import subprocess\nsubprocess.run('ls', shell=True)",
    "import numpy as np\nnp.load('x', allow_pickle=True)", "socket.recv_pyobj()", "torch.load('x')",
    "import os\nos.system('ls')"])
def test_the_check_sees_what_it_is_for(code: str) -> None:
    assert complaints(ast.parse(code))
