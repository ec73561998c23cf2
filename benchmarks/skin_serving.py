"""The skin service under 16 clients: requests that wait are answered together, beside one forward pass a request.

Two servers in processes of their own, the same application, bundle and threads; only the batching differs. Clients are
a third process that keeps connections open and posts three images each time; the servers take turns, pass by pass. At
the end a new model is released under load: every request must still be answered. The bundle has the demo's sizes and
random weights, and its encoders run in plain torch.

    python -m benchmarks.skin_serving [--quick] [--json FILE]
"""

import http.client
import io
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.pigmentation.profiles import PROFILES

CLIENTS, PASSES, PASS_S, RELEASE_S = 16, 5, 6.0, 8.0
QUICK_PASSES, QUICK_PASS_S, QUICK_RELEASE_S = 1, 1.0, 3.0
RATIO_GATE = 1.5
STORED_PX, CUBE_PX = (PROFILES["demo"]["LesionKnobs"][name] for name in ("stored_px", "cube_px"))
TRAINED = PROFILES["demo"]["SkinTrainKnobs"]
BANDS = tuple(np.linspace(450, 950, 12).tolist())
WAYS = ("batched", "alone")
HOST = "127.0.0.1"


def publish(home: str, scratch: Path, seed: int) -> str:
    """Release a model of the demo's size with random weights; its version."""
    import torch

    from mm_assets.learning.bundle import save_bundle
    from mm_assets.pigmentation.fusion import FusionConfig
    from mm_assets.pigmentation.inputs import InputSpec, ModalitySpec, photograph_spec
    from mm_assets.pigmentation.model import FusionModel
    from mm_assets.pigmentation.schema import subset_name, subsets
    from resources.artifacts import ArtifactStore

    cube = ModalitySpec(
        name="multispectral", kind="cube", channels=12, mean=(0.4,) * 12, std=(0.1,) * 12, wavelengths_nm=BANDS
    )
    photographs = [photograph_spec(name, TRAINED["photographs"]) for name in ("clinical", "dermoscopy")]
    spec = InputSpec(image_size=TRAINED["image_size"], modalities=(*photographs, cube))
    torch.manual_seed(seed)
    config = FusionConfig(
        modalities=spec.channels, **{name: TRAINED[name] for name in ("encoder", "stage", "image_size", "width")}
    )
    model = FusionModel(config)
    store = ArtifactStore(home, scratch)
    with store.draft("pigmentation", "released_model") as draft:
        bundle = {
            "wing": "pigmentation",
            "architecture": asdict(config),
            "preprocessing": spec.as_json(),
            "captures": {"stored_px": STORED_PX, "cube_px": CUBE_PX, "multispectral": "cube"},
            "thresholds": {"mild": 0.25, "moderate": 0.6},
            "conformal": {},
            "errors": {subset_name(chosen): {"value": None, "low": None, "high": None} for chosen in subsets()},
            "runtime": {"name": "torch-float32"},
            "metrics": {},
            "upstream": {},
            "synthetic": True,
        }
        save_bundle(draft.folder, model.state_dict(), bundle, "# card\n")
        return draft.publish(upstream={}, synthetic=True, run_id=None).version


def serve(way: str, home: str, scratch: Path, port: int) -> None:
    """The application with the released model of ``home``; ``alone`` runs each request's forward pass by itself."""
    import uvicorn

    from resources.artifacts import ArtifactStore
    from ui.pigmentation.entry import PigmentationEntry
    from ui.released import ReleasedModel
    from ui.routes import pigmentation
    from ui.server import assemble

    if way == "alone":
        pigmentation.MicroBatcher = Alone  # type: ignore[misc, assignment]
    released = ReleasedModel(ArtifactStore(home, scratch), "pigmentation", PigmentationEntry().load)
    app = assemble({"pigmentation": released})
    uvicorn.run(app, host=HOST, port=port, access_log=False, log_level="warning")


class Alone:
    """The interface of MicroBatcher: every item by itself, in the thread of its request."""

    def submit(self, run: Callable[[Sequence[Any]], Sequence[Any]], item: Any) -> "Future[Any]":
        answer: Future[Any] = Future()
        answer.set_result(run([item])[0])
        return answer

    def close(self) -> None:
        """Nothing waits."""


def request_body() -> tuple[bytes, str]:
    """A multipart form with three images of one lesion, and its content type."""
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : STORED_PX * 1j, -1 : 1 : STORED_PX * 1j]
    spot = 1 / (1 + np.exp(12 * (np.hypot(x, y) - 0.45)))[..., None]
    photograph = np.array([205, 155, 130]) * (1 - 0.4 * spot) + rng.normal(0, 4, (*x.shape, 1))
    jpeg, npz = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.clip(photograph, 0, 255).astype(np.uint8)).save(jpeg, "JPEG", quality=95)
    cube = np.clip(rng.normal(0.4, 0.1, (CUBE_PX, CUBE_PX, len(BANDS))), 0, 1).astype(np.float16)
    np.savez(npz, cube=cube, wavelengths_nm=np.array(BANDS, np.float32))
    body = b""
    for name, data in (("clinical", jpeg), ("dermoscopy", jpeg), ("multispectral", npz)):
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}_image"; filename="{name}"\r\n\r\n'
        body += head.encode() + data.getvalue() + b"\r\n"
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def load(port: int, seconds: float, clients: int, out: "multiprocessing.Queue[Any]") -> None:
    """Post for ``seconds`` over ``clients`` connections: puts (latencies in s, statuses, model versions)."""
    body, kind = request_body()
    seen: list[tuple[float, int, str]] = []
    start = threading.Barrier(clients)

    def client() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        mine = []
        start.wait()
        until = time.perf_counter() + seconds
        while (now := time.perf_counter()) < until:
            try:
                connection.request("POST", "/predict/pigmentation", body, {"Content-Type": kind})
                answer = connection.getresponse()
                answer.read()
                status = answer.status
                version = answer.getheader("x-model-version") or ""
            except (OSError, http.client.HTTPException):
                connection.close()
                status, version = 0, ""
            mine.append((time.perf_counter() - now, status, version))
        connection.close()
        seen.extend(mine)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.put(seen)


def loaded(port: int, seconds: float, clients: int = CLIENTS) -> list[tuple[float, int, str]]:
    """What `load` saw, run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    out: multiprocessing.Queue[Any] = context.Queue()
    process = context.Process(target=load, args=(port, seconds, clients, out))
    process.start()
    seen = out.get(timeout=seconds + 120)
    process.join()
    return list(seen)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise RuntimeError("the server did not start")


def main() -> int:
    options = parse_options(__doc__)
    passes, pass_s, release_s = (
        (QUICK_PASSES, QUICK_PASS_S, QUICK_RELEASE_S) if options.quick else (PASSES, PASS_S, RELEASE_S)
    )
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        home, scratch = f"{folder}/home", Path(folder) / "scratch"
        os.environ["GRADIO_TEMP_DIR"] = f"{folder}/uploads"
        first = publish(home, scratch, seed=0)
        ports = {way: free_port() for way in WAYS}
        servers = [
            context.Process(target=serve, args=(way, home, scratch / way, port), daemon=True)
            for way, port in ports.items()
        ]
        for server in servers:
            server.start()
        try:
            seen: dict[str, list[tuple[float, int, str]]] = {way: [] for way in WAYS}
            single: dict[str, list[float]] = {way: [] for way in WAYS}
            rates: dict[str, list[float]] = {way: [] for way in WAYS}
            for port in ports.values():
                wait_until_ready(port)
                loaded(port, 1.0)
            for number in range(passes):
                for way in WAYS if number % 2 == 0 else WAYS[::-1]:
                    answers = loaded(ports[way], pass_s)
                    seen[way] += answers
                    rates[way].append(len(answers) / pass_s)
                    single[way] += [latency for latency, *_ in loaded(ports[way], pass_s / 3, clients=1)]
            timer = threading.Timer(release_s / 4, publish, (home, scratch / "second", 1))
            timer.start()
            during = loaded(ports["batched"], release_s)
            timer.join()
        finally:
            for server in servers:
                server.terminate()
                server.join(timeout=20)
    lost = sum(status != 200 for _, status, _ in during)
    versions = {version for _, status, version in during if status == 200}
    ratios = np.array(rates["batched"]) / np.array(rates["alone"])
    ratio = float(np.median(ratios))
    p99 = {way: 1000 * float(np.quantile([latency for latency, *_ in seen[way]], 0.99)) for way in WAYS}
    failures = sum(status != 200 for way in WAYS for _, status, _ in seen[way])
    rows = [
        (
            way,
            round(float(np.median(rates[way])), 1),
            round(1000 * float(np.median([latency for latency, *_ in seen[way]])), 1),
            round(p99[way], 1),
            round(1000 * float(np.median(single[way])), 1),
        )
        for way in WAYS
    ]
    spread = f"{ratio:.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    rows.append(("batched over alone, by pass", spread, "", "", ""))
    gates = [
        Gate("requests lost while a new model is released", float(lost), "at most", 0.0),
        Gate("models that answered meanwhile", float(len(versions)), "at least", 2.0),
        Gate("requests not answered otherwise", float(failures), "at most", 0.0),
    ]
    if not options.quick:
        gates += [
            Gate(f"requests/s of batched over alone, {CLIENTS} clients", ratio, "at least", RATIO_GATE),
            Gate("p99 of batched over alone", p99["batched"] / p99["alone"], "at most", 1.0),
        ]
    return finish(
        options,
        numbers={
            "clients": CLIENTS,
            "cpu_count": os.cpu_count(),
            "requests_during_release": len(during),
            "first_version_seen": first in versions,
            "ratio_requests_per_s": round(ratio, 2),
            "rates": {way: [round(rate, 1) for rate in rates[way]] for way in WAYS},
        },
        columns=("server", "requests/s", "p50 ms", "p99 ms", "one client, p50 ms"),
        rows=rows,
        gates=gates,
    )


if __name__ == "__main__":
    sys.exit(main())
