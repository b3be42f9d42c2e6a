"""The process of the agent imports no library that it does not need."""

import subprocess
import sys

HEAVY = ("numpy", "onnxruntime", "torch", "onnx", "PIL", "matplotlib", "boto3", "botocore", "rich", "typer", "fsspec")


def imported(code):
    """The heavy packages that a new interpreter has imported after some code."""
    script = f"import sys\n{code}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_the_agent_imports_nothing_heavy():
    code = (
        "from robot_assets.agent.light_imports import import_signers\n"
        "import_signers()\n"
        "from robot_assets.agent import busy, health, prove, reporting, update"
    )
    assert imported(code) == []


def test_what_was_hidden_can_be_imported_afterwards():
    code = (
        "from robot_assets.agent.light_imports import import_signers\n"
        "import_signers()\n"
        "import importlib.util as util, sys\n"
        "assert all(sys.modules.get(name, 1) for name in ('boto3', 'hvac'))\n"
        "util.find_spec('boto3')"
    )
    assert imported(code) == []
