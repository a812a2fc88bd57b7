"""Whole runs of the init container, as the kubelet would start it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.arbitrary_user import UID, arbitrary_user
from support.archives import bombs, entry, forged
from support.published import KEY, NAMESPACE, bucket
from support.replica import FILES, ROOT, Ended, Pod, cold
from support.s3 import S3
from tunecast_core.bundle import layout
from tunecast_core.trust.settings import StoreSettings
from tunecast_core.trust.signing import Signer, generate

pytestmark = pytest.mark.integration


@pytest.fixture
def pod(s3_credentials: S3, tmp_path: Path, request: pytest.FixtureRequest) -> Pod:
    return Pod(tmp_path, bucket(s3_credentials, request.node.name.replace("[", "-").rstrip("]")))


@pytest.fixture
def stalled() -> Iterator[str]:
    """An endpoint that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_hit_installs_every_layer(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    ended = pod.run()
    assert (ended.exit, ended.report.result, ended.report.reason) == (0, "Hit", "Installed"), ended.out
    assert ended.files == FILES
    assert ended.report.bytes == sum(archive.size for archive in archives)
    assert set(ended.report.layers) == {"Triton", "TorchCompile", "PythonBytecode"}
    assert ended.report.seconds.keys() >= {"start", "fetch", "unpack", "total"}
    assert ended.report.key == KEY
    for path in FILES:
        assert (pod.mount / path).stat().st_mtime_ns == (pod.folder / "source" / path).stat().st_mtime_ns


def test_any_user_installs_layers_for_any_other_user(pod: Pod) -> None:
    """As on OpenShift, the uid has no passwd entry and no HOME, and the engine has another uid."""
    pod.bucket.publish(FILES, pod.folder)
    pod.folder.chmod(0o755)
    ended = replace(pod, wrapper=arbitrary_user(pod.folder)).run()
    assert (ended.exit, ended.report.reason, ended.files) == (0, "Installed", FILES), ended.out
    for path in pod.mount.rglob("*"):
        assert path.stat().st_uid == UID
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"TUNECAST_PYCACHE": "false"}, {"pycache/usr/m.pyc"}),
        ({"TUNECAST_EXCLUDED_LAYERS": "Triton,CUDA"}, {"triton/abc/kernel.cubin"}),
    ],
)
def test_layers_without_a_use_are_left_out(pod: Pod, environment: dict[str, str], missing: set[str]) -> None:
    pod.bucket.publish(FILES, pod.folder)
    assert pod.run(environment).files.keys() == FILES.keys() - missing


def test_a_bundle_whose_layers_are_all_excluded_serves_cold(pod: Pod) -> None:
    pod.bucket.publish(FILES, pod.folder)
    excluded = "Triton,TorchCompile,PythonBytecode"
    cold(pod.run({"TUNECAST_EXCLUDED_LAYERS": excluded}), "NothingWanted")


def test_what_a_killed_predecessor_left_is_cleared(pod: Pod) -> None:
    pod.bucket.publish(FILES, pod.folder)
    (pod.mount / ".tunecast-staging/triton").mkdir(parents=True)
    (pod.mount / "triton").mkdir()
    (pod.mount / "triton/stale").write_bytes(b"stale")
    assert pod.run().files == FILES
    (pod.mount / "triton/stale").write_bytes(b"stale")
    cold(pod.run({"TUNECAST_KEY": "other"}), "NoManifest")


def test_nothing_published_serves_cold(pod: Pod) -> None:
    cold(pod.run(), "NoManifest")


def test_block_waits_for_a_hit(pod: Pod) -> None:
    cold(pod.run({"TUNECAST_ON_FAILURE": "Block"}), "NoManifest", exit_code=1)
    pod.bucket.publish(FILES, pod.folder)
    assert pod.run({"TUNECAST_ON_FAILURE": "Block"}).exit == 0


def test_a_store_that_is_down_serves_cold_soon(pod: Pod) -> None:
    ended = pod.run(store=StoreSettings("bundles", endpoint="http://127.0.0.1:9"))
    cold(ended, "StoreUnavailable")
    assert "http://127.0.0.1:9" in ended.report.message
    assert ended.seconds < 12


def test_a_mesh_that_lets_nobody_through_is_named(pod: Pod) -> None:
    """Istio's CNI plugin redirects connections to its proxy's port before the proxy listens there."""
    store = StoreSettings("bundles", endpoint="http://127.0.0.1:9")
    ended = pod.run({"TUNECAST_MESH_ISTIO": '{"containers": ["istio-proxy"]}'}, store=store)
    cold(ended, "BlockedByMesh")
    wanted = 'set traffic.sidecar.istio.io/excludeOutboundPorts: "9" in spec.template.metadata.annotations'
    assert wanted in ended.report.message
    assert ended.seconds < 12


def test_a_bundle_that_would_have_the_pod_evicted_is_not_fetched(pod: Pod) -> None:
    """Peak use is the archives plus their files, in blocks of 4 KiB."""
    archives = pod.bucket.publish(FILES, pod.folder)
    needed = sum(archive.size + archive.unpacked + 4096 * archive.files for archive in archives)
    limits = {"TUNECAST_STORAGE_LIMIT": str(needed - 1), "TUNECAST_STORAGE_REQUEST": "1"}
    ended = pod.run(limits)
    cold(ended, "NoRoom")
    assert ended.report.bytes == 0
    assert "raise limits.ephemeral-storage of the engine's container" in ended.report.message
    assert pod.run({**limits, "TUNECAST_ENGINE_STORAGE_LIMIT": str(needed)}).report.reason == "Installed"


def test_a_bundle_larger_than_the_nodes_free_space_is_not_fetched(pod: Pod) -> None:
    """Uses a volume of one MiB in a separate mount namespace."""
    pod.bucket.publish({"triton/big": os.urandom(2**20)}, pod.folder)
    pod.mount.mkdir()
    tiny = f'mount -t tmpfs -o size=1m tmpfs {pod.mount} && exec "$@"'
    ended = replace(pod, wrapper=["unshare", "--mount", "sh", "-c", tiny, "sh"]).run()
    cold(ended, "NoRoom")
    assert "are free on the node" in ended.report.message


def test_a_mesh_is_not_blamed_for_what_the_store_answers(pod: Pod) -> None:
    mesh = {"TUNECAST_MESH_ISTIO": "{}"}
    cold(pod.run(mesh, store=replace(pod.bucket.s3.settings(), bucket="nowhere")), "NotFound")
    pod.bucket.publish(FILES, pod.folder)
    assert pod.run(mesh).report.reason == "Installed"


def test_a_missing_bucket_serves_cold(pod: Pod) -> None:
    cold(pod.run(store=replace(pod.bucket.s3.settings(), bucket="nowhere")), "NotFound")


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_serve_cold(pod: Pod, variable: str) -> None:
    cold(pod.run({variable: "wrong"}), "AccessDenied")


def test_a_truncated_blob_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    pod.bucket.put_blob(archives[0], (pod.folder / archives[0].layer).read_bytes()[:-1])
    cold(pod.run(), "DigestMismatch")


def test_an_altered_blob_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    data = bytearray((pod.folder / archives[0].layer).read_bytes())
    data[-1] ^= 1
    pod.bucket.put_blob(archives[0], bytes(data))
    cold(pod.run(), "DigestMismatch")


def test_a_missing_blob_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    pod.bucket.put_manifest((*archives, replace(archives[0], layer="CUDA", digest="0" * 64)))
    cold(pod.run(), "NotFound")


def test_an_unknown_signer_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    pod.bucket.put_manifest(archives, Signer(generate()))
    cold(pod.run(), "BadSignature")


def test_garbage_for_a_manifest_serves_cold(pod: Pod) -> None:
    place = (pod.bucket.prefix, NAMESPACE, KEY, pod.bucket.hardware, pod.bucket.signer.signer)
    pod.bucket.put(layout.manifest_object(*place), b"\xff")
    cold(pod.run(), "BadSignature")


@pytest.mark.parametrize("changes", [{"key": "another"}, {"namespace": "another"}])
def test_another_keys_manifest_serves_cold(pod: Pod, changes: dict[str, Any]) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    pod.bucket.put_manifest(archives, **changes)
    cold(pod.run(), "WrongKey")


def test_a_quarantined_manifest_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    digest = pod.bucket.put_manifest(archives)
    ended = pod.run(quarantined=(digest,))
    cold(ended, "Quarantined")
    assert ended.report.manifest == digest, "shows the operator that a crash is not the bundle's fault"


def test_an_evil_archive_that_is_signed_serves_cold(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    evil = forged(pod.folder / "evil", [entry("triton/ok"), entry("../../evil")])
    pod.bucket.put_blob(evil, (pod.folder / "evil").read_bytes())
    pod.bucket.put_manifest((*(a for a in archives if a.layer != "Triton"), evil))
    cold(pod.run(), "UnsafeArchive")
    assert not (pod.folder / "../evil").exists()


def test_archives_that_swell_serve_cold_in_little_memory(pod: Pod) -> None:
    """Memory stays below half of the chart's default limit, including the interpreter and the S3 client."""
    for name, (path, archive) in bombs(pod.folder).items():
        if archive.size < 2**20:
            pod.bucket.put_blob(archive, path.read_bytes())
            pod.bucket.put_manifest((archive,))
            ended = replace(pod, wrapper=["prlimit", f"--data={200 * 2**20}"]).run()
            assert ended.report.reason in {"UnsafeArchive", "Malformed", "NoRoom"}, f"{name}: {ended.out}"
            cold(ended, ended.report.reason)


def test_too_little_memory_serves_cold_and_is_reported(pod: Pod) -> None:
    (pod.folder / "botocore").mkdir()
    (pod.folder / "botocore/__init__.py").write_text("bytearray(2**40)")
    ended = pod.run({"PYTHONPATH": f"{pod.folder}:{ROOT}/core:{ROOT}/initcontainer"})
    cold(ended, "OutOfMemory")
    assert "initContainer.resources" in ended.report.message


def kill_whole(pod: Pod, stalled: str) -> Ended:
    """Kills the init program with its worker, as the kernel does with the memory.oom.group of kubelets since 1.28."""
    started = time.monotonic()
    with pod.start({}, store=StoreSettings("bundles", endpoint=stalled)) as process:
        wait_for_handler(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        return pod.end(process, started)


def test_after_a_run_that_was_killed_with_its_supervisor_the_next_one_serves_cold(pod: Pod, stalled: str) -> None:
    """The kubelet restarts the container, and the same cause would kill it again."""
    pod.bucket.publish(FILES, pod.folder)
    ended = kill_whole(pod, stalled)
    assert ended.exit == -signal.SIGKILL
    assert (ended.report.result, ended.report.reason, ended.report.key) == ("Cold", "Interrupted", KEY)
    assert "OOMKilled" in ended.report.message
    again = pod.run()
    cold(again, "Interrupted")
    assert "the run before this one was killed" in again.report.message
    assert pod.run().report.reason == "Installed", "a finished run leaves no marker"


def test_with_block_a_run_that_was_killed_is_tried_again(pod: Pod, stalled: str) -> None:
    pod.bucket.publish(FILES, pod.folder)
    kill_whole(pod, stalled)
    ended = pod.run({"TUNECAST_ON_FAILURE": "Block"})
    assert (ended.exit, ended.report.reason, ended.files) == (0, "Installed", FILES), ended.out


def test_no_trust_serves_cold(pod: Pod) -> None:
    cold(pod.run(keys={}), "NoTrust")
    cold(pod.run({"TUNECAST_TRUST": "/nowhere"}), "NoTrust")


def test_missing_variables_serve_cold(pod: Pod) -> None:
    cold(pod.run({"TUNECAST_KEY": ""}), "BadSettings")


def test_a_stalled_store_ends_at_the_deadline(pod: Pod, stalled: str) -> None:
    ended = pod.run(store=StoreSettings("bundles", endpoint=stalled), deadline_seconds=3.0)
    cold(ended, "DeadlineExceeded")
    assert ended.seconds < 4.5


def test_a_name_server_that_stalls_ends_at_the_deadline(pod: Pod) -> None:
    (pod.folder / "sitecustomize.py").write_text(
        "import socket, threading\nsocket.getaddrinfo = lambda *a, **k: threading.Event().wait()\n"
    )
    path = f"{pod.folder}:{ROOT}/core:{ROOT}/initcontainer"
    settings = StoreSettings("bundles", endpoint="http://s3.example.com")
    ended = pod.run({"PYTHONPATH": path}, store=settings, deadline_seconds=3.0)
    cold(ended, "DeadlineExceeded")
    assert 2.5 < ended.seconds < 4.5


def test_a_bug_serves_cold_too(pod: Pod) -> None:
    (pod.folder / "botocore").mkdir()
    (pod.folder / "botocore/__init__.py").write_text("1 / 0")
    ended = pod.run({"PYTHONPATH": f"{pod.folder}:{ROOT}/core:{ROOT}/initcontainer"})
    cold(ended, "InternalError")
    assert "ZeroDivisionError" in ended.report.message
    assert "Traceback" in ended.out


def test_a_mount_path_that_is_missing_is_named(pod: Pod) -> None:
    pod.bucket.publish(FILES, pod.folder)
    ended = pod.run({"TUNECAST_MOUNT_PATH": "/nowhere"})
    cold(ended, "InstallFailed")
    assert "/nowhere" in ended.report.message


def test_a_termination_serves_cold(pod: Pod, stalled: str) -> None:
    started = time.monotonic()
    with pod.start({}, store=StoreSettings("bundles", endpoint=stalled)) as process:
        wait_for_handler(process.pid)
        process.send_signal(signal.SIGTERM)
        ended = pod.end(process, started)
    cold(ended, "Terminated")
    assert ended.seconds < 10


def wait_for_handler(pid: int) -> None:
    """Waits until the process handles SIGTERM itself, after it has started its worker."""
    until = time.monotonic() + 10
    while not _caught(pid) & 1 << (signal.SIGTERM - 1):
        assert time.monotonic() < until, "no handler"
        time.sleep(0.01)


def _caught(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))


def test_tools_are_copied_for_any_user(tmp_path: Path) -> None:
    (tmp_path / "source/pkg/__pycache__").mkdir(parents=True)
    (tmp_path / "source/pkg/a.py").write_text("1")
    (tmp_path / "source/pkg/__pycache__/a.cpython-311.pyc").write_text("1")
    environment = {
        "PYTHONPATH": f"{ROOT}/core:{ROOT}/initcontainer",
        "TUNECAST_TOOLS_SOURCE": str(tmp_path / "source"),
    }
    command = [sys.executable, "-m", "tunecast_init", "tools", str(tmp_path / "tools")]
    for _ in range(2):
        subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [str(p.relative_to(tmp_path)) for p in (tmp_path / "tools").rglob("*.py*")] == ["tools/pkg/a.py"]
    assert (tmp_path / "tools/pkg/a.py").stat().st_mode & 0o777 == 0o644


def test_another_signers_bundle_counts_where_the_operators_can_not_be_read(pod: Pod) -> None:
    """This happens after a downgrade from a release that wrote manifests in another format."""
    archives = pod.bucket.publish(FILES, pod.folder)
    other = replace(pod.bucket, signer=Signer(generate()))
    digest = other.put_manifest(archives)
    place = (pod.bucket.prefix, NAMESPACE, KEY, pod.bucket.hardware, pod.bucket.signer.signer)
    pod.bucket.put(layout.manifest_object(*place), pod.bucket.signer.sign(b'{"version": 2}'))
    keys = {signer.signer: signer.public_key for signer in (pod.bucket.signer, other.signer)}
    assert pod.run(keys=keys, signer=pod.bucket.signer.signer).report.manifest == digest


def test_of_several_signers_bundles_the_operators_counts_and_no_other_replaces_it(pod: Pod) -> None:
    archives = pod.bucket.publish(FILES, pod.folder)
    other = replace(pod.bucket, signer=Signer(generate()))
    digest = other.put_manifest(archives[:1])
    keys = {signer.signer: signer.public_key for signer in (pod.bucket.signer, other.signer)}
    assert pod.run(keys=keys, signer=other.signer.signer).report.manifest == digest
    assert pod.run(keys=keys, signer=pod.bucket.signer.signer).report.manifest not in {"", digest}
    cold(pod.run(keys=keys, signer=other.signer.signer, quarantined=(digest,)), "Quarantined")
