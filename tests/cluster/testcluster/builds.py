"""Builds the Go programs and the Debian root file systems, once per version."""

import json
import os
import shutil
from pathlib import Path

from testcluster.cache import Cache, ClusterError, digest
from testcluster.jail import jailed
from testcluster.shell import run

HERE = Path(__file__).resolve().parent.parent
PROGRAMS = HERE / "programs"
# The linker would drop the debug information anyway.
COMPILER = ("go", "build", "-trimpath", "-gcflags=all=-dwarf=false")
COMPILER_ENVIRONMENT = {"CGO_ENABLED": "0", "GOGC": "400"}  # fewer collections: more memory, less time
LWS = "sigs.k8s.io/lws"
SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
NODE_PACKAGES = (
    "buildah",
    "ca-certificates",
    "catatonit",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "runc",
)


def programs(cache: Cache) -> Path:
    """Return the folder with every Go program: the `tool` lines of programs/go.mod, and our own CoreDNS.

    Its folder ``lws`` has what installs LeaderWorkerSet: the files of an image, and the chart from its Go module.
    """
    inputs = [path.read_bytes() for path in sorted(PROGRAMS.rglob("*")) if path.is_file()]
    return cache.ensure("programs", digest(*inputs, *COMPILER), _compile)


def _compile(target: Path) -> None:
    module = json.loads(run(["go", "mod", "edit", "-json"], cwd=PROGRAMS))
    packages = [tool["Path"] for tool in module["Tool"]]
    command = [*COMPILER, f"-ldflags={_linker_flags(module)}", "-o", f"{target}/"]
    run([*command, *packages, "./..."], cwd=PROGRAMS, env=COMPILER_ENVIRONMENT)
    lws, source = target / "lws", run(["go", "list", "-m", "-f", "{{.Dir}}", LWS], cwd=PROGRAMS).strip()
    shutil.copytree(PROGRAMS / "lws", lws)
    shutil.copytree(f"{source}/charts/lws", lws / "chart")
    (target / "cmd").rename(lws / "manager")  # Go names a program after the folder of its package


def _linker_flags(module: dict[str, list[dict[str, str]]]) -> str:
    """Return flags that link Kubernetes' version in: without them it reports v0.0.0-master, which charts reject."""
    flags = ["-s", "-w"]
    for needed in module["Require"]:
        if needed["Path"] == "k8s.io/kubernetes":
            version = needed["Version"]
            major, minor = version.removeprefix("v").split(".")[:2]
            facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
            flags += [f"-X k8s.io/component-base/version.{k}={v}" for k, v in facts.items()]
    return " ".join(flags)


def base_root(cache: Cache) -> Path:
    """Return the root of localhost/python:3: Debian with Python."""
    return _debian(cache, "base", BASE_PACKAGES)


def node_root(cache: Cache) -> Path:
    """Return the root in which the node and the image builds run: Debian with containerd and other tools."""
    return _debian(cache, "node", NODE_PACKAGES)


def _debian(cache: Cache, name: str, packages: tuple[str, ...]) -> Path:
    key = debian_key(packages)
    script = _debootstrap(cache)
    return cache.ensure(name, key, lambda target: _bootstrap(script, packages, target)) / "root"


def debian_key(packages: tuple[str, ...]) -> str:
    return digest(SUITE, *packages)


def _debootstrap(cache: Cache) -> Path:
    return unpacked(cache, "debootstrap")


def unpacked(cache: Cache, name: str) -> Path:
    """Return a folder with an unpacked Debian package, which is not installed on the host."""

    def unpack(target: Path) -> None:
        run(["apt-get", "download", name], cwd=target)
        (package,) = target.glob(f"{name}_*.deb")
        run(["dpkg-deb", "-x", package, target])
        package.unlink()

    return cache.ensure(name, SUITE, unpack)


def _bootstrap(script: Path, packages: tuple[str, ...], target: Path) -> None:
    root = target / "root"
    command = [script / "usr/sbin/debootstrap", "--variant=minbase"]
    options = [f"--include={','.join(packages)}", SUITE, root, _mirror()]
    data = {"DEBOOTSTRAP_DIR": str(script / "usr/share/debootstrap")}
    run(jailed([*command, *options]), env=data, log=target / "debootstrap.log")
    shutil.rmtree(root / "var/cache/apt/archives")
    shutil.rmtree(root / "var/lib/apt/lists")


def _mirror() -> str:
    """Return the Debian mirror that this machine itself uses."""
    if chosen := os.environ.get("TUNECAST_DEBIAN_MIRROR"):
        return chosen
    form = ["--format", "$(LABEL) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    for line in run(["apt-get", "indextargets", *form]).splitlines():
        label, component, address = line.split(maxsplit=2)
        if (label, component) == ("Debian", "main"):
            return address
    raise ClusterError(
        "no Debian mirror in this machine's apt sources: run 'apt-get update', or set TUNECAST_DEBIAN_MIRROR"
    )
