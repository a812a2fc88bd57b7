"""The test cluster starts completely, and leaves nothing behind, however it ends.

These tests require root and what `python3 tests/cluster build` needs. Their cluster has its own name, and they
look only for things with this name, because other clusters may start and stop on the machine meanwhile.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

CLUSTER = Path(__file__).resolve().parent
NAME = f"updown-{os.getpid()}"
STATE = Path(os.environ.get("TUNECAST_STATE") or "/var/tmp/tunecast") / NAME
KERNEL = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and a kubelet require root")


def command(*words: str) -> list[str]:
    return [sys.executable, str(CLUSTER), *words]


def cluster(*words: str) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    values: dict[str, str] = json.loads(cluster("env", "--json", "--name", NAME))
    return values


def kubectl(*words: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["kubectl", *words], env=environment(), input=stdin, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def supervisors() -> list[int]:
    """Returns the host's PIDs of the supervisor: unshare, then PID 1 of the cluster."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_text().split("\0")[:-1]
            if words[-2:] == ["supervise", str(STATE)]:
                found.append((words[0] != "unshare", int(entry.name)))
    return [pid for _, pid in sorted(found)]


def processes() -> list[str]:
    """Returns the processes whose command line names this cluster's state folder, including shims and containers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_text().replace("\0", " ")
            found += [words] if f"{STATE}" in words else []
    return found


def output(*words: str) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def leftovers(number: int) -> dict[str, list[str]]:
    """Returns everything that this cluster has left on the machine."""
    addresses = [f"10.{block}.{number}." for block in (213, 214, 215)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "processes": processes(),
        "mounts": [line for line in mounts if str(STATE) in line],
        "addresses": [line for line in output("ip", "address") if any(a in line for a in addresses)],
        "routes": [line for line in output("ip", "route") if any(a in line for a in addresses)],
        "namespaces": [line for line in output("ip", "netns") if NAME in line],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/tunecast-{NAME}")],
        "state": [str(path) for path in STATE.parent.glob(f"*{NAME}*")],
    }
    return {what: names for what, names in found.items() if names}


def settings() -> list[str]:
    """Returns settings of the whole machine that a kubelet or kube-proxy would change."""
    return [Path("/proc/sys", name).read_text() for name in KERNEL]


def firewall(description: dict[str, Any]) -> list[str]:
    """Returns the host's rules, read with the node's iptables because the host may have none."""
    lines = output("chroot", description["node_root"], "iptables-save")
    return [line for line in lines if not line.startswith("#")]


def describe() -> dict[str, Any]:
    description: dict[str, Any] = json.loads((STATE / "cluster.json").read_text())
    return description


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def name() -> Iterator[str]:
    yield NAME
    cluster("down", "--name", NAME)


def test_down_of_a_cluster_that_is_not_there(name: str) -> None:
    cluster("down", "--name", name)


def test_control_plane_has_an_api_server_a_bucket_and_an_audit_log(name: str) -> None:
    cluster("up", "--control-plane", "--name", name)
    values = environment()
    kubectl("create", "configmap", "audited")
    log = Path(values["TUNECAST_AUDIT_LOG"]).read_text().splitlines()
    written = [json.loads(line) for line in log if "configmaps" in line and '"audited"' in line]
    assert [(entry["verb"], entry["user"]["username"]) for entry in written] == [("create", "admin")]
    with pytest.raises(urllib.error.HTTPError, match="403") as refusal:
        urllib.request.urlopen(f"{values['TUNECAST_S3_ENDPOINT']}/{values['TUNECAST_BUCKET']}", timeout=5)
    refusal.value.close()
    assert tls_version(values) == "TLSv1.3"


def tls_version(values: dict[str, str]) -> str | None:
    """Returns the TLS version of the S3 server, whose certificate is for a name that no name server resolves."""
    where = urllib.parse.urlsplit(values["TUNECAST_S3_TLS_ENDPOINT"])
    trust = ssl.create_default_context(cafile=values["TUNECAST_S3_TLS_AUTHORITY"])
    address = (values["TUNECAST_S3_TLS_ADDRESS"], where.port or 443)
    with (
        socket.create_connection(address, timeout=5) as plain,
        trust.wrap_socket(plain, server_hostname=where.hostname) as secure,
    ):
        return secure.version()


def test_down_leaves_nothing(name: str) -> None:
    before = settings()
    cluster("up", "--name", name)
    description = describe()
    number = description["network"]["number"]
    rules = firewall(description)
    run_a_pod()
    assert leftovers(number)
    assert settings() == before
    cluster("down", "--name", name)
    assert leftovers(number) == {}
    assert firewall(description) == rules
    assert settings() == before


GET = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"


def reaches(pod: str, address: str) -> bool:
    words = ["kubectl", "exec", pod, "--", "python3", "-c", GET, address]
    return subprocess.run(words, env=environment(), capture_output=True, timeout=30, check=False).returncode == 0


def test_pods_of_two_nodes_reach_each_other_and_nothing_of_either_node_is_left(name: str) -> None:
    cluster("up", "--nodes=2", "--name", name)
    number = describe()["network"]["number"]
    commands = {"client": ("sleep", "inf"), "web": ("python3", "-m", "http.server", "8000")}
    for (pod, words), node in zip(commands.items(), (NAME, f"{NAME}-2"), strict=True):
        where = json.dumps({"spec": {"nodeName": node}})
        kubectl("run", pod, "--image=localhost/python:3", f"--overrides={where}", "--command", "--", *words)
    kubectl("expose", "pod", "web", "--port=8000")
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    eventually(lambda: reaches("client", "http://web:8000"), 20)
    address = kubectl("get", "pod", "web", "-o", "jsonpath={.status.podIP}")
    assert reaches("client", f"http://{address}:8000")
    with urllib.request.urlopen(f"http://{address}:8000", timeout=5) as answer:
        assert answer.status == 200
    cluster("down", "--name", name)
    assert leftovers(number) == {}


@pytest.mark.parametrize("which", ["unshare", "PID 1"])
def test_nothing_runs_on_after_a_kill_of_the_supervisor(name: str, which: str) -> None:
    cluster("up", "--name", name)
    number = describe()["network"]["number"]
    run_a_pod()
    os.kill(supervisors()[which == "PID 1"], signal.SIGKILL)
    eventually(lambda: not processes(), 20)
    cluster("down", "--name", name)
    assert leftovers(number) == {}


@pytest.mark.parametrize("seconds", [0.4, 1.2, 3.0])
def test_up_after_an_up_that_was_killed(name: str, seconds: float) -> None:
    cluster("build")
    first = subprocess.Popen(command("up", "--name", name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    first.kill()
    first.wait()
    cluster("up", "--name", name)
    number = describe()["network"]["number"]
    run_a_pod()
    cluster("down", "--name", name)
    assert leftovers(number) == {}


def test_a_killed_process_is_restarted(name: str) -> None:
    cluster("up", "--control-plane", "--name", name)
    log = STATE / "logs/supervisor.log"
    (etcd,) = [pid for pid in map(int, output("pgrep", "--full", f"data-dir={STATE}/etcd")) if pid != os.getpid()]
    os.kill(etcd, signal.SIGKILL)
    eventually(lambda: "etcd ended" in log.read_text())
    eventually(api_answers)
    kubectl("create", "configmap", "after")


def api_answers() -> bool:
    words = ["kubectl", "get", "--raw", "/readyz", "--request-timeout=2s"]
    return subprocess.run(words, env=environment(), capture_output=True, check=False).returncode == 0


def run_a_pod() -> None:
    """Starts a container, with its own shim and mounts, that ignores the signal to stop."""
    kubectl("run", "sleeper", "--image=localhost/python:3", "--command", "--", "sleep", "inf")
    kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
