"""Runs a real Kubernetes, S3 and vLLM for tests. See `python3 tests/cluster --help`."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from testcluster import engine, images, jail, lifecycle, node, processes, s3, supervisor
from testcluster.cache import Cache, ClusterError, report
from testcluster.state import BUCKET, S3_REGION, Cluster, Node, default_name

GPUS = 8


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.run
    try:
        command(options)
    except ClusterError as error:
        print(f"tests/cluster: {error}", file=sys.stderr)
        return 1
    return 0


def environment(cluster: Cluster, cache: Cache) -> dict[str, str]:
    """Return the variables that describe a running cluster to tests; README.md documents them."""
    keys = s3.read_keys(cluster)
    return {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KUBECACHEDIR": str(cluster.state / "kubectl"),  # an earlier cluster at this address may have had other kinds
        "TUNECAST_CLUSTER": cluster.name,
        "TUNECAST_S3_ENDPOINT": cluster.s3_endpoint,
        "TUNECAST_S3_ENDPOINT_IN_CLUSTER": cluster.s3_endpoint,
        "TUNECAST_S3_TLS_ENDPOINT": cluster.s3_tls_endpoint,
        "TUNECAST_S3_TLS_ADDRESS": cluster.network.node,
        "TUNECAST_S3_TLS_AUTHORITY": str(cluster.state / "pki/ca.crt"),
        "TUNECAST_BUCKET": BUCKET,
        "AWS_REGION": S3_REGION,
        "AWS_ACCESS_KEY_ID": keys["owner"]["access"],
        "AWS_SECRET_ACCESS_KEY": keys["owner"]["secret"],
        "TUNECAST_S3_READER_ACCESS_KEY_ID": keys["reader"]["access"],
        "TUNECAST_S3_READER_SECRET_ACCESS_KEY": keys["reader"]["secret"],
        "TUNECAST_AUDIT_LOG": str(cluster.audit_log),
        "TUNECAST_LOGS": str(cluster.logs),
        "TUNECAST_ENGINE_DIR": str(engine.folder(cache)),
        "TUNECAST_HOST_ADDRESS": cluster.network.gateway,
        "TUNECAST_LWS_DIR": str(Path(cluster.programs) / "lws"),
        "PATH": os.pathsep.join([cluster.programs, os.environ.get("PATH", os.defpath)]),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = _command(commands, "build", _build, "build everything that `up` needs, unless it is built already")
    build.add_argument("--control-plane", action="store_true")
    build.add_argument("--engine", action="store_true", help="build vLLM, too")
    up = _command(commands, "up", _up, "bring the cluster up and wait until it is ready", named=True)
    up.add_argument("--control-plane", action="store_true", help="start no node; the cluster is ready in seconds")
    up.add_argument("--gpus", type=int, default=GPUS, help=f"number of GPUs that the node reports (default: {GPUS})")
    up.add_argument("--disk", default="", help="size of the disk for pods' volumes (default: the host's disk)")
    up.add_argument("--nodes", type=int, default=1, choices=range(1, 9), metavar="N", help="nodes (default: 1)")
    _command(commands, "down", _down, "stop the cluster, in any state, and remove everything of it", named=True)
    env = _command(commands, "env", _env, "print export lines for a shell", named=True)
    env.add_argument("--json", action="store_true")
    _command(commands, "engine", _engine, "build the vLLM environment if it does not exist, and print its path")
    _add_image(commands)
    _add_internal(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    help_text: str,
    *,
    named: bool = False,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text)
    parser.set_defaults(run=run)
    if named:
        own = default_name()
        parser.add_argument("--name", default=own, help=f"name of the cluster (default for this checkout: {own})")
    return parser


def _add_image(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    image = commands.add_parser("image", help="build an image, or load it into the cluster")
    parts = image.add_subparsers(required=True, metavar="build|load")
    build = _command(parts, "build", _image_build, "build from DIR/Dockerfile unless it is unchanged")
    build.add_argument("--target", default="")
    build.add_argument("--tag", required=True)
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("directory", type=Path)
    load = _command(parts, "load", _image_load, "import a built image into the node", named=True)
    load.add_argument("tag")


def _add_internal(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands with which the program calls itself in new namespaces."""
    supervise = commands.add_parser("supervise")
    supervise.add_argument("state", type=Path)
    supervise.set_defaults(run=lambda options: supervisor.supervise(options.state.name))
    mount = commands.add_parser("mount-node")
    mount.add_argument("state", type=Path)
    mount.add_argument("number", type=int)
    mount.set_defaults(run=lambda options: node.hold(Node(Cluster.read(options.state.name), options.number)))
    inside = commands.add_parser("inside")
    inside.add_argument("root", type=Path)
    inside.add_argument("--bind", action="append", default=[])
    inside.add_argument("command", nargs="+")
    inside.set_defaults(run=_inside)


def _build(options: argparse.Namespace) -> None:
    lifecycle.build(Cache.from_environment(), control_plane_only=options.control_plane, with_engine=options.engine)
    report("everything is built")


def _up(options: argparse.Namespace) -> None:
    cache = Cache.from_environment()
    gpus = 0 if options.control_plane else options.gpus
    more = {"disk": options.disk, "count": 1 if options.control_plane else options.nodes}
    lifecycle.up(cache, options.name, control_plane_only=options.control_plane, gpus=gpus, **more)


def _down(options: argparse.Namespace) -> None:
    lifecycle.down(options.name)


def _env(options: argparse.Namespace) -> None:
    values = environment(Cluster.read(options.name), Cache.from_environment())
    if options.json:
        print(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


def _engine(_options: argparse.Namespace) -> None:
    print(engine.build(Cache.from_environment()))


def _image_build(options: argparse.Namespace) -> None:
    arguments = dict(word.split("=", 1) for word in options.build_arg)
    context = options.directory.resolve()
    images.build(Cache.from_environment(), context, options.tag, options.target, arguments)


def _image_load(options: argparse.Namespace) -> None:
    archive = images.archive_of(Cache.from_environment(), options.tag)
    images.load(Cluster.read(options.name), processes.supervisor_pid(options.name), archive)


def _inside(options: argparse.Namespace) -> None:
    pairs = [word.split(":", 1) for word in options.bind]
    binds = [(Path(source), Path(target)) for source, target in pairs]
    jail.enter(options.root, binds, options.command)
