"""The Dockerfiles are linted, and their steps run as far as possible without a container engine."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packages import requirements, skip_without_index

NAMES = ("train", "edge")
FINAL = {"train": ("server", "train"), "edge": ("edge",)}
MANYLINUX = [f"manylinux_2_{minor}_aarch64" for minor in range(17, 36)] + ["manylinux2014_aarch64"]
"""Wheel tags for the base of the edge image, Ubuntu 22.04 with glibc 2.35."""


@dataclass(frozen=True)
class Stage:
    """One FROM of a Dockerfile.

    Attributes:
        base: Its base image or stage.
        steps: Instructions in order, each with its arguments on one line.
    """

    base: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]


def stages(path: Path) -> dict[str, Stage]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    current: list[tuple[str, str]] = []
    for text in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        instruction, _, rest = text.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            current = []
            found[name] = (base, current)
        elif instruction:
            current.append((instruction, rest))
    return {name: Stage(base, tuple(steps)) for name, (base, steps) in found.items()}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def dockerfile(repository: Path, name: str) -> Path:
    return repository / "k8s/images" / f"{name}.Dockerfile"


def test_hadolint_finds_nothing(dockerfile):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_image_runs_as_root_and_each_has_its_commit(dockerfile, name):
    found = stages(dockerfile)
    for final in FINAL[name]:
        assert found[final].all("USER") == ["10001:10001"], final
        assert 'org.opencontainers.image.revision="${COMMIT}"' in found[final].all("LABEL")[0]
        assert "ROBOT_ASSETS_IMAGE=${IMAGE}" in found[final].all("ENV")[0]
        assert found[final].all("WORKDIR") == ["/opt/robot-assets"]


def test_the_dependencies_are_a_layer_without_the_commit(dockerfile, name):
    """Only pyproject.toml is copied before the installation; the commit is in a separate stage."""
    found = stages(dockerfile)
    copied = found["dependencies"].all("COPY")
    assert copied == ["pyproject.toml ./"]
    for final in FINAL[name]:
        assert "COMMIT" not in str(found["dependencies"]) + found[final].base
        assert all(text.startswith("--from=project") for text in found[final].all("COPY"))


def test_the_edge_image_has_no_training_extras(repository):
    extras = {
        path.stem: re.findall(r'"\.\[([a-z,]+)\]"', path.read_text())
        for path in (repository / "k8s/images").glob("*.Dockerfile")
    }
    assert extras == {"train": ["cluster,cpu", "cluster,training"], "edge": ["cluster,jetson"]}
    assert not any(line.startswith("torch") for line in requirements("cluster", "cpu", "jetson"))


def test_the_server_image_has_the_runtime_of_the_steps_on_the_cpu():
    """It publishes the platform of the target ``cpu``, which has the version of ONNX Runtime."""
    runtime = [line for line in requirements("cluster", "training") if line.startswith("onnxruntime")]
    assert runtime
    assert set(runtime) <= set(requirements("cluster", "cpu"))


def test_the_user_and_its_folders_are_those_of_the_manifests(dockerfile, manifests):
    base = stages(dockerfile)["base"]
    assert any("useradd --uid 10001 --gid 10001" in text for text in base.all("RUN"))
    pod = manifests.find("k3s", "Deployment", "robot-assets-code-location")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    (made,) = stages(dockerfile)["project"].all("RUN")
    assert mounted - {"/tmp"} == set(re.findall(r"install --directory \S+ \S+ (\S+) (\S+)", made)[0])


# instructions that are run


def run(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **variables}
    return subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_project_stage_has_the_commit_without_changes(dockerfile, repository, tmp_path):
    (step,) = stages(dockerfile)["project"].all("RUN")
    context, root = tmp_path / "context", tmp_path / "root"
    git = ["git", "-C", str(context), "-c", "user.name=Robot", "-c", "user.email=robot@example.com"]
    subprocess.run(["git", "init", "--quiet", str(context)], check=True)
    (context / "params.yaml").write_text("committed\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (context / "params.yaml").write_text("edited\n")
    (context / "untracked").write_text("not committed\n")

    script = re.sub(r"--mount=\S+ ", "", step).replace("/context", str(context)).replace("/opt/", f"{root}/opt/")
    script = script.replace(" --owner=10001 --group=10001", "")
    done = run(script, tmp_path, COMMIT=commit)
    assert done.returncode == 0, done.stderr
    made = root / "opt/robot-assets"
    assert (made / "params.yaml").read_text() == "committed\n"
    assert not (made / "untracked").exists()
    # as a record reads it
    status = subprocess.run(
        ["git", "-C", str(made), "status", "--porcelain", "--untracked-files=no"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert status.stdout == ""
    head = subprocess.run(["git", "-C", str(made), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert head.stdout.strip() == commit
    assert run(script, tmp_path, COMMIT="").returncode != 0
    assert run(script.replace(str(root), str(tmp_path / "again")), tmp_path, COMMIT="0" * 40).returncode != 0


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with nothing but pip."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=True)
    return folder / "bin/python"


def install_steps(dockerfile: Path) -> list[str]:
    """Arguments of each ``pip install`` of the project."""
    text = "\n".join(step for stage in stages(dockerfile).values() for step in stage.all("RUN"))
    return re.findall(r'pip install ((?:--\S+ )*"\.\[[a-z,]+\]")', text)


def test_the_project_builds_from_its_pyproject_toml(repository, clean, tmp_path):
    """As in the dependencies stage: without code, and with an empty README."""
    step = install_steps(repository / "k8s/images/edge.Dockerfile")[0]
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    (tmp_path / "README.md").touch()
    done = run(f"{clean} -m pip install --no-deps --dry-run --quiet --report report.json {step}", tmp_path)
    skip_without_index(done)
    assert done.returncode == 0, done.stderr
    assert '"name":"robot-assets"' in (tmp_path / "report.json").read_text().replace(" ", "")


def test_every_dependency_of_the_edge_image_has_a_wheel_for_arm64(clean, tmp_path):
    """Resolved for the edge image, not for this machine; a source distribution would need a compiler."""
    (tmp_path / "wanted.txt").write_text("\n".join(requirements("", "cluster", "jetson")))
    platforms = " ".join(f"--platform {tag}" for tag in MANYLINUX)
    done = run(
        f"{clean} -m pip install --dry-run --quiet --disable-pip-version-check --target {tmp_path / 'target'} "
        f"--only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none {platforms} "
        "--requirement wanted.txt --report report.json",
        tmp_path,
    )
    skip_without_index(done)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "report.json").read_text()
    assert "aarch64.whl" in report
    assert not re.search(r'"name": "(torch|torchao|panda3d)"', report)


def test_the_tensorrt_wheel_is_for_the_python_of_the_image(repository):
    text = (repository / "k8s/images/edge.Dockerfile").read_text()
    (python,) = set(re.findall(r"uv python (?:install --no-bin|find) (3\.\d+)\.\d+", text))
    (wheel,) = set(re.findall(r"tensorrt-\*-cp(3)(\d+)-\*\.whl", text))
    assert python == ".".join(wheel)


def test_the_build_script_refuses_uncommitted_changes(repository, tmp_path):
    script = (repository / "k8s/images/build").read_text()
    copy = tmp_path / "checkout/k8s/images/build"
    copy.parent.mkdir(parents=True)
    copy.write_text(script)
    copy.chmod(0o755)
    checkout = tmp_path / "checkout"
    git = ["git", "-C", str(checkout), "-c", "user.name=Robot", "-c", "user.email=robot@example.com"]
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    assert "error: no registry" in run(f"{copy}", tmp_path).stderr
    assert "error: unknown image: jetson" in run(f"{copy} registry.lab jetson", tmp_path).stderr
    copy.write_text(script + "\n# edited\n")
    refused = run(f"{copy} registry.lab", tmp_path)
    assert refused.returncode != 0
    assert "there are uncommitted changes" in refused.stderr


def test_the_build_script_builds_each_image_for_its_machine_and_prints_its_digest(repository, tmp_path):
    """With a stand-in for docker that records its arguments."""
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository.as_uri(), str(checkout)], check=True)
    (checkout / "k8s/images/build").write_text((repository / "k8s/images/build").read_text())
    subprocess.run(["git", "-C", str(checkout), "update-index", "--assume-unchanged", "k8s/images/build"], check=True)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "docker").write_text(
        '#!/bin/bash\necho "$@" >> "$CALLS"\nwhile [ "$1" != --metadata-file ]; do shift; done\n'
        'echo "{\\"containerimage.digest\\": \\"sha256:$(printf %064d 7)\\"}" > "$2"\n'
    )
    (binaries / "docker").chmod(0o755)
    calls = tmp_path / "calls"
    done = run(
        f"bash {checkout}/k8s/images/build registry.lab/robots",
        tmp_path,
        PATH=f"{binaries}:/usr/bin:/bin",
        CALLS=str(calls),
    )
    assert done.returncode == 0, done.stderr
    built = calls.read_text().splitlines()
    assert [re.search(r"--platform (\S+) --file (\S+) --target (\S+)", call).groups() for call in built] == [
        ("linux/amd64", "k8s/images/train.Dockerfile", "server"),
        ("linux/amd64", "k8s/images/train.Dockerfile", "train"),
        ("linux/arm64", "k8s/images/edge.Dockerfile", "edge"),
    ]
    digest = f"sha256:{7:064d}"
    assert f"edge  registry.lab/robots/edge@{digest}" in done.stdout
