"""Builds a containerd store with the stock images, because importing them at each `up` takes half a minute."""

import shutil
from pathlib import Path

from testcluster import builds, images
from testcluster.cache import Cache, ClusterError, digest
from testcluster.jail import in_root
from testcluster.shell import run

STORE = Path("/var/lib/containerd")
IMPORT = """\
set -e
printf 'version = 2\\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\\n' > /tmp/containerd.toml
containerd --config=/tmp/containerd.toml &
until ctr version > /dev/null 2>&1; do sleep 0.1; done
for archive in "$@"; do ctr --namespace=k8s.io images import "$archive"; done
kill $! && wait $!
"""


def ensure(cache: Cache) -> Path:
    archives = images.ensure_stock(cache)
    key = digest(IMPORT, builds.node_root(cache).parent.name, *(archive.parent.name for archive in archives))
    return cache.ensure("seed", key, lambda target: _import(cache, archives, target)) / "store"


def _import(cache: Cache, archives: list[Path], target: Path) -> None:
    store = target / "store"
    store.mkdir()
    binds = {store: STORE, cache.root: cache.root}
    command = ["sh", "-c", IMPORT, "import", *archives]
    run(in_root(builds.node_root(cache), binds, command), log=target / "import.log")


def plant(store: Path, target: Path) -> None:
    """Hard-link layers and blobs, which never change, and copy the databases, which do."""
    try:
        run(["cp", "--archive", "--link", f"{store}/.", target])
    except ClusterError:  # another file system
        run(["cp", "--archive", f"{store}/.", target])
    for database in store.rglob("*.db"):
        own = target / database.relative_to(store)
        own.unlink()
        shutil.copy2(database, own)
