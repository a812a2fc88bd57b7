"""Builds container images without a registry: buildah runs in the node's root and writes archives."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testcluster import builds, node
from testcluster.cache import Cache, ClusterError, digest, locked, report
from testcluster.jail import AUTHORITIES, in_root
from testcluster.shell import Command, run
from testcluster.state import Cluster, default_name, nodes

BASE_TAG = "localhost/python:3"
ENGINE_TAG = "localhost/engine-base:1"
ARCHIVE = "image.tar"
KEPT = 3


@dataclass(frozen=True)
class Recipe:
    """All inputs of an image."""

    tag: str
    dockerfile: Path
    context: Path
    key: str
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return slug(self.tag)


def slug(tag: str) -> str:
    return "image-" + tag.removeprefix("localhost/").replace("/", "-").replace(":", "-")


def stock_recipes(cache: Cache) -> list[Recipe]:
    """Return the images that every whole cluster has, each one after its base images."""
    base, node_root = builds.base_root(cache), builds.node_root(cache)
    recipes, engine = builds.HERE / "images", builds.HERE / "engine"
    pause_file, base_file = recipes / "pause.Dockerfile", recipes / "base.Dockerfile"
    pause_key = digest(pause_file.read_bytes(), node_root.parent.name)
    base_key = digest(base_file.read_bytes(), base.parent.name)
    arguments = {"BASE": BASE_TAG}
    engine_key = digest(_inputs(engine / "Dockerfile", engine), base_key)
    return [
        Recipe(node.PAUSE_TAG, pause_file, node_root / "usr/bin", pause_key),
        Recipe(BASE_TAG, base_file, base, base_key),
        Recipe(ENGINE_TAG, engine / "Dockerfile", engine, engine_key, arguments=arguments),
    ]


def ensure_stock(cache: Cache) -> list[Path]:
    return [_ensure(cache, recipe) for recipe in stock_recipes(cache)]


def build(cache: Cache, context: Path, tag: str, target: str, arguments: dict[str, str]) -> Path:
    """Build the project's own image and remember which archive this checkout's tag means."""
    if not tag.startswith("localhost/") or ":" not in tag:
        raise ClusterError(f"--tag {tag}: give localhost/NAME:TAG, which no kubelet tries to pull")
    dockerfile = context / "Dockerfile"
    if not dockerfile.exists():
        raise ClusterError(f"{dockerfile} does not exist: give the folder that holds the Dockerfile")
    ensure_stock(cache)
    stock = {recipe.tag: recipe for recipe in stock_recipes(cache)}
    base = stock.get(arguments.get("BASE", BASE_TAG), stock[BASE_TAG])
    words = [target, *(f"{name}={value}" for name, value in sorted(arguments.items()))]
    key = digest(_inputs(dockerfile, context), base.key, tag, *words)
    recipe = Recipe(tag, dockerfile, context, key, target, arguments)
    archive = _ensure(cache, recipe)
    os.utime(archive.parent)
    _prune(cache, recipe.slug)
    note = _note(cache, tag)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(archive))
    return archive


def archive_of(cache: Cache, tag: str) -> Path:
    note = _note(cache, tag)
    if note.exists() and (archive := Path(note.read_text())).exists():
        return archive
    raise ClusterError(f"no image {tag} was built from this checkout: run 'image build' first")


def load(cluster: Cluster, pid: int, archive: Path) -> None:
    """Import an archive into each containerd of the cluster whose supervisor is `pid`."""
    if cluster.control_plane_only:
        raise ClusterError(f"{cluster.name} has no node that an image could be loaded into")
    enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--"]
    for one in nodes(cluster):
        ctr = ["ctr", f"--address={node.socket(one)}", "--namespace=k8s.io"]
        run([*enter, *node.inside(one, [*ctr, "images", "import", archive])])


def _note(cache: Cache, tag: str) -> Path:
    return cache.root / "tags" / default_name() / slug(tag)


def _ensure(cache: Cache, recipe: Recipe) -> Path:
    made = cache.ensure(recipe.slug, recipe.key, lambda folder: _build(cache, recipe, folder))
    return made / ARCHIVE


def _build(cache: Cache, recipe: Recipe, folder: Path) -> None:
    with locked(cache.lock_path("buildah")):
        _buildah(cache, recipe, ["rm", "--all"], folder / "clean.log")  # left by a killed build
        command: list[object] = ["bud", "--layers", "--isolation=chroot", "--network=host"]
        command += [f"--volume={file}:{target}:ro" for file, target in _settings(cache).items()]
        command += [f"--build-arg={name}={value}" for name, value in recipe.arguments.items()]
        command += [f"--target={recipe.target}"] if recipe.target else []
        command += ["--pull-never", f"--tag={recipe.tag}", f"--file={recipe.dockerfile}"]
        _buildah(cache, recipe, [*command, recipe.context], folder / "build.log")
        out = f"docker-archive:{folder / ARCHIVE}:{recipe.tag}"
        _buildah(cache, recipe, ["push", recipe.tag, out], folder / "push.log")


def _buildah(cache: Cache, recipe: Recipe, command: Command, log: Path) -> None:
    store = cache.root / "buildah"
    store.mkdir(exist_ok=True)
    places = (cache.root, recipe.context, recipe.dockerfile)
    binds = {place: place for place in places}
    buildah = ["buildah", f"--root={store}/root", f"--runroot={store}/run"]
    options = ["--storage-driver=overlay"]
    run(in_root(builds.node_root(cache), binds, [*buildah, *options, *command]), log=log)


def _settings(cache: Cache) -> dict[Path, str]:
    """Let pip and apt in a build trust the host's authorities; the image does not keep them."""
    if not AUTHORITIES.exists():
        return {}
    config = cache.root / "buildah/pip.conf"
    lines = ["[global]", f"cert = {AUTHORITIES}", "disable-pip-version-check = true"]
    if index := os.environ.get("PIP_INDEX_URL"):
        lines.append(f"index-url = {index}")
    config.write_text("\n".join(lines) + "\n")
    return {AUTHORITIES: str(AUTHORITIES), config: "/etc/pip.conf"}


def _inputs(dockerfile: Path, context: Path) -> str:
    """Return a digest of the Dockerfile and of the files in its COPY lines; other files cause no rebuild."""
    parts: list[str | bytes] = [dockerfile.read_bytes()]
    for source in _copied(dockerfile.read_text()):
        for path in sorted(_files(context, source)):
            mode = oct(path.stat().st_mode)
            parts += [str(path.relative_to(context)), mode, path.read_bytes()]
    return digest(*parts)


def _copied(dockerfile: str) -> list[str]:
    sources = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if words and words[0].upper() in ("COPY", "ADD"):
            options = [word for word in words[1:] if word.startswith("--")]
            if not any(option.startswith("--from") for option in options):
                sources += [word for word in words[1:-1] if not word.startswith("--")]
    return sources


def _files(context: Path, source: str) -> list[Path]:
    found: list[Path] = []
    for path in context.glob(source.removeprefix("./").rstrip("/") or "*"):
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and ".git" not in path.parts]


def _prune(cache: Cache, name: str) -> None:
    """Remove old archives: they are big, and every edit makes one."""
    made = sorted(cache.root.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    for old in made[:-KEPT]:
        report(f"removing the old {old.name}")
        shutil.rmtree(old)
