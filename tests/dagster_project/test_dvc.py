"""``dvc repro`` and Dagster run the same functions and give the same hashes."""

import os
import shutil

import yaml

from tests.dagster_project.conftest import Checkout


def test_dvc_repro_locks_the_hashes_of_dagster(copy_of_built: Checkout, repository, dvc_command):
    document = yaml.safe_load((repository / "dvc.yaml").read_text())
    document["stages"]["simulate"]["foreach"] = ["small"]
    document["stages"]["dataset"]["foreach"] = {"small": document["stages"]["dataset"]["foreach"]["sidewalk"]}
    (copy_of_built.root / "dvc.yaml").write_text(yaml.safe_dump(document))
    for dependency in ("robot_assets", ".dvc/config", ".dvcignore"):
        source, target = repository / dependency, copy_of_built.root / dependency
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    copy_of_built.run("git", "init", "-q")
    copy_of_built.run(str(dvc_command), "repro", "-q")
    lock = yaml.safe_load((copy_of_built.root / "dvc.lock").read_text())
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    assert outs == {
        "data/raw/small": copy_of_built.latest("raw/small").tags["dagster/data_version"],
        "data/datasets/small": copy_of_built.latest("datasets/small").tags["dagster/data_version"],
    }


def test_dvc_pulls_an_artifact_of_a_dagster_build(copy_of_built: Checkout, repository, dvc_command):
    """The store is a DVC remote: the hash on the page is enough to pull the bytes with ``dvc`` alone."""
    materialization = copy_of_built.latest("small_detector/engine/cpu")
    pointer = {"outs": [{"md5": materialization.tags["dagster/data_version"], "hash": "md5", "path": "engine"}]}
    consumer = copy_of_built.root / "consumer"
    consumer.mkdir()
    (consumer / "engine.dvc").write_text(yaml.safe_dump(pointer))
    run = Checkout(consumer).run
    run(str(dvc_command), "init", "--no-scm", "-q")
    run(
        str(dvc_command),
        "remote",
        "add",
        "-d",
        "store",
        os.fspath(copy_of_built.root / ".robot_assets/store"),
    )
    run(str(dvc_command), "pull", "-q")
    assert (consumer / "engine" / "manifest.json").is_file()
