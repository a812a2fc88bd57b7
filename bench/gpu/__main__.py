"""Measures a bundle on this machine's GPUs: one attempt as a Job runs it, then each layer left out, then spoilt files.

    PYTHONPATH=bench:core:tuner:operator:initcontainer:tests:tests/cluster python -m gpu --out DIR [STEP ...]

It needs root (for mount namespaces), vLLM for this Python (BENCH_ENGINE_PATH: a directory to import it from), boto3,
cryptography, and an S3 server (TUNECAST_VERSITYGW). Steps run in the order given; ``table`` prints the results in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu.attempt import Attempt, install, to_object
from gpu.filled import BARE, MOE, filled, image
from gpu.table import show
from gpu.world import NAMESPACE, World, engine_environment, facts, private, run, world
from tunecast_core.bundle.flashinfer import FILE
from tunecast_core.bundle.layers import environment as layer_environment
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records.codec import to_json
from tunecast_core.records.job import RankResult
from tunecast_core.records.manifest import Archive

HERE = Path(__file__).resolve().parent
ENGINE = "-m vllm.entrypoints.cli.main serve {model} --load-format=dummy --skip-tokenizer-init --port=8000"
MOVED = "/var/cache/elsewhere"
STRANGE = "VLLM_NIXL_SIDE_CHANNEL_PORT"  # differs between pods, and vLLM hashes it
KEY = "k" * 52
# With several GPUs vLLM fuses the all-reduce by FlashInfer's mnnvl backend, which uses NVLink multicast; see world.py.
NO_FUSION = '--compilation-config={"pass_config":{"fuse_allreduce_rms":false}}'


@dataclass
class Bench:
    world: World
    options: argparse.Namespace
    result: RankResult | None = None

    @property
    def command(self) -> list[str]:
        words = self.options.engine.format(model=self.options.model).split()
        return [sys.executable, *words, *self.options.args.split(), NO_FUSION]

    def archives(self) -> tuple[Archive, ...]:
        """Returns the archives of the published bundle, which are downloaded once."""
        if self.result is None:
            raise SystemExit("this step needs a bundle: run the step `engine` first")
        folder = self.world.folder / "archives"
        if not folder.exists():
            folder.mkdir()
            files = [(archive, folder / archive.layer) for archive in self.result.archives]
            self.world.store.download(NAMESPACE, files, time.monotonic() + 600)
        return self.result.archives

    def row(self, name: str, gpu: int | None = None, **changes: Any) -> dict[str, Any]:
        """Starts an engine on its own mount path; returns the raw figures, which are also written to the results."""
        variables = self.result.environment if self.result else {}
        mount, keep = changes.pop("mount", self.world.folder / f"mount-{name}"), changes.pop("keep", False)
        value = {
            "command": self.command,
            "environment": {},
            "variables": variables,
            "folder": str(self.world.folder / "archives"),
            **changes,
        }
        if gpu is not None:
            value["environment"] = {**value["environment"], "CUDA_VISIBLE_DEVICES": str(gpu)}
            value["command"] = [word.replace("--port=8000", f"--port={8000 + gpu}") for word in self.command]
        asked, answer = self.world.folder / f"{name}.json", self.world.folder / f"{name}-result.json"
        asked.write_text(json.dumps(value))
        program = [sys.executable, str(HERE / "serve.py"), str(asked), str(answer)]
        environment = {**engine_environment(), "PYTHONPATH": _path()}
        run(private(mount, program, value.get("mount_path", MOUNT_PATH)), self.log(name), environment)
        found: dict[str, Any] = {"name": name, **json.loads(answer.read_text())}
        self.world.keep(f"row-{name}.json", found)
        if not keep:
            shutil.rmtree(mount, ignore_errors=True)
        return found

    def log(self, name: str) -> Path:
        self.world.out.mkdir(parents=True, exist_ok=True)
        return self.world.out / f"{name}.log"


def _path() -> str:
    """PYTHONPATH of serve.py, which imports our packages; its engine gets another one."""
    return ":".join(sys.path)


def progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def engine(bench: Bench) -> None:
    """Rank 0 starts cold and its peer warm; the bundle is published, and the init program installs it."""
    attempt = Attempt(bench.world, KEY, "engine", bench.command)
    try:
        attempt.start()
        results = attempt.wait()
    finally:
        attempt.end()
        for rank in range(attempt.ranks):
            shutil.copy(attempt.folder / f"rank-{rank}" / "log", bench.log(f"engine-rank-{rank}"))
    for result in results:
        progress(f"rank {result.rank}: {result.reason}: {result.message}")
    bench.result = attempt.staged()
    bench.world.keep("engine.json", to_object(bench.result))
    attempt.publish(bench.result)
    replica = bench.world.folder / "replica"
    report, seconds = install(bench.world, KEY, replica)
    progress(f"init program: {report.result} ({report.reason}) in {seconds:.2f} s: {report.seconds}")
    bench.world.keep("init.json", {"report": to_json(report), "seconds": round(seconds, 3)})


def replica(bench: Bench) -> None:
    """Starts a replica from the bundle that the init program installed, and measures its throughput."""
    found = bench.row("replica", mount=bench.world.folder / "replica")
    progress(f"replica: first token after {found['first_token_seconds']} s, {found['throughput']}")


def cold(bench: Bench) -> None:
    """Starts an engine cold, without Tunecast, and measures its throughput for comparison with the replica's."""
    found = bench.row("cold", variables={})
    progress(f"cold: first token after {found['first_token_seconds']} s, {found['throughput']}")


def _all(bench: Bench) -> dict[str, Any]:
    return {"archives": to_json(bench.archives())}


def spoilt(bench: Bench) -> None:
    """Starts from the bundle with one FlashInfer object 24 ns too new."""
    _show_row(bench.row("spoilt", spoil=True, **_all(bench)))


def moved(bench: Bench) -> None:
    """Starts from the same files at another mount path."""
    _show_row(bench.row("moved", mount_path=MOVED, **_all(bench)))


def strange(bench: Bench) -> None:
    """Starts from the bundle with one more variable that vLLM hashes."""
    _show_row(bench.row("strange", environment={STRANGE: "5601"}, strange=[STRANGE], **_all(bench)))


def layers(bench: Bench) -> None:
    """Starts from the bundle without one layer, for each layer in turn."""
    for left_out in bench.options.layers or [archive.layer for archive in bench.archives()]:
        kept = [archive for archive in bench.archives() if archive.layer != left_out]
        _show_row(bench.row(f"without-{left_out}", archives=to_json(kept)))


def _show_row(found: dict[str, Any]) -> None:
    if failure := found.get("failure"):
        progress(f"{found['name']}: {failure['reason']}: {failure['message']}")
        return
    proof = found["proof"]
    verdicts = {layer["layer"]: (layer["verdict"], layer["rebuilt"]) for layer in proof["layers"]}
    progress(f"{found['name']}: {proof['warm']['totalSeconds']} s, init {proof['warm'].get('initSeconds')}, {verdicts}")


def operators(bench: Bench) -> None:
    """Kills rank 0 while it tunes; then the next attempt succeeds: rank 0 tunes, and its peer replays."""
    command = _operators_command(bench)
    for name, number in (("sigkill", signal.SIGKILL), ("sigterm", signal.SIGTERM)):
        bench.world.keep(f"operators-{name}.json", _killed(bench, command, name, number))
    attempt = Attempt(bench.world, "o" * 52, "operators", command, "Operators")
    try:
        attempt.start()
        results = attempt.wait(500)
    finally:
        attempt.end()
        for rank in range(2):
            shutil.copy(attempt.folder / f"rank-{rank}" / "log", bench.log(f"operators-rank-{rank}"))
    for result in results:
        progress(f"operators, rank {result.rank}: {result.reason}: {result.message}")
    bench.world.keep("operators.json", to_object(attempt.staged()))


def _killed(bench: Bench, command: list[str], name: str, number: signal.Signals) -> dict[str, Any]:
    attempt = Attempt(bench.world, "o" * 52, f"operators-{name}", command, "Operators")
    try:
        attempt.start()
        until(lambda: "tuned " in attempt.log(0) or attempt.processes[0].poll() is not None, 300)
        attempt.kill(0, number)
        started = time.monotonic()
        attempt.processes[1].wait(60)
        seconds = time.monotonic() - started
        peer = attempt.result(1)
        attempt.processes[0].wait(30)
    finally:
        attempt.end()
    progress(f"{name}: the peer ended after {seconds:.1f} s: {peer.reason}: {peer.message}")
    return {
        "peer_ended_after_seconds": round(seconds, 2),
        "peer": to_object(peer),
        "leftovers_of_rank_0": attempt.leftovers(0),
        "leftovers_of_rank_1": attempt.leftovers(1),
        "gpu_processes_after": _gpu_processes(),
    }


def tunes(bench: Bench) -> None:
    """Tunes with two ranks on two GPUs, and independently on the second GPU, and counts the tactics that differ."""
    command = _operators_command(bench)
    first, second = {"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}
    shared = Attempt(bench.world, "p" * 52, "tunes-shared", command, "Operators", 2, per_rank={0: first, 1: second})
    alone = Attempt(bench.world, "q" * 52, "tunes-alone", command, "Operators", 1, per_rank={0: second})
    try:
        shared.start()
        alone.start()
        results = [*shared.wait(560), *alone.wait(560)]
    finally:
        shared.end()
        alone.end()
        for attempt in (shared, alone):
            for rank in range(attempt.ranks):
                shutil.copy(attempt.folder / f"rank-{rank}" / "log", bench.log(f"{attempt.uid}-rank-{rank}"))
    for result in results:
        progress(f"rank {result.rank}: {result.reason}: {result.message}")
    one, other = shared.tactics(), alone.tactics()
    different = sorted(name for name in one.keys() & other.keys() if one[name] != other[name])
    progress(f"{len(different)} of {len(one)} entries differ between two independent tunes")
    bench.world.keep("tunes.json", {"shared": to_object(shared.staged()), "alone": to_object(alone.staged())})
    bench.world.keep("tunes-tactics.json", {"shared": one, "alone": other, "different": different})


def alone(bench: Bench) -> None:
    """Tunes, with one rank, the FlashInfer operators that the engine's own command calls."""
    command = [image(bench.world.folder / "image"), *bench.command[1:], *MOE]
    attempt = Attempt(bench.world, "q" * 52, "alone", command, "Operators", 1, BARE, command[0])
    try:
        attempt.start()
        [result] = attempt.wait(900)
    finally:
        attempt.end()
        shutil.copy(attempt.folder / "rank-0" / "log", bench.log("alone-rank-0"))
    progress(f"{result.reason}: {result.message}")
    bench.world.keep("alone.json", to_object(attempt.staged()))
    bench.world.keep("alone-tactics.json", attempt.tactics())


def gain(bench: Bench) -> None:
    """Times every FlashInfer operator with default and with tuned tactics, on the mount path of ``alone``."""
    mount = bench.world.folder / "alone" / "rank-0" / "mount"
    cache = next(mount.glob(f"**/{FILE}"))
    answer = bench.world.out / "gain.json"
    program = [sys.executable, str(HERE / "gain.py"), f"{MOUNT_PATH}/{cache.relative_to(mount)}", str(answer)]
    paths = [os.environ.get("BENCH_ENGINE_PATH", ""), _path()]
    variables = {**layer_environment(MOUNT_PATH), "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = private(mount, [*program, *bench.command, *MOE])
    run(command, bench.log("gain"), {**engine_environment(), **variables})


def _operators_command(bench: Bench) -> list[str]:
    command = [sys.executable, *f"-m vllm.entrypoints.cli.main serve {bench.options.operators_model}".split()]
    return [*command, "--load-format=dummy", "--skip-tokenizer-init", "--max-num-batched-tokens=8192"]


def _gpu_processes() -> list[str]:
    own = f"--id={os.environ.get('CUDA_VISIBLE_DEVICES', '0')}"
    query = ["nvidia-smi", own, "--query-compute-apps=pid,used_memory", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()


def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"the condition did not become true within {seconds} s")
        time.sleep(0.05)


STEPS: dict[str, Callable[[Bench], None]] = {
    "engine": engine,
    "replica": replica,
    "cold": cold,
    "spoilt": spoilt,
    "moved": moved,
    "strange": strange,
    "layers": layers,
    "operators": operators,
    "tunes": tunes,
    "alone": alone,
    "gain": gain,
    "filled": filled,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/tunecast-bench"))
    parser.add_argument("--model", default=str(HERE / "qwen3-30b-a3b"))
    parser.add_argument("--operators-model", default=str(HERE / "qwen3-8b-fp8"))
    parser.add_argument("--engine", default=ENGINE, help="command line of the engine, after `python`")
    parser.add_argument("--args", default="--max-model-len=4096 --max-num-batched-tokens=8192")
    parser.add_argument("--layers", nargs="*", help="the layers that the step `layers` leaves out (default: all)")
    parser.add_argument("steps", nargs="*", choices=[*STEPS, "table"], default=["table"])
    options = parser.parse_args()
    steps = [step for step in options.steps if step != "table"]
    if steps:
        with world(options.folder, options.out) as place:
            bench = Bench(place, options)
            place.keep("facts.json", {**facts(), "command": sys.argv[1:]})
            for step in steps:
                progress(step)
                try:
                    STEPS[step](bench)
                except Exception as error:  # noqa: BLE001 - the steps after it may still work
                    progress(f"{step} failed: {type(error).__name__}: {error}")
    show(options.out)


if __name__ == "__main__":
    main()
