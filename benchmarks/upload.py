"""Uploading 500 files of 60 KB to S3: ours beside boto3 with 16 threads, in one run against the same server.

Both read the files, hash them, and send a content type and the SHA-256 as metadata; ours lists the folder before and
after as well. The gate is CPU seconds of this process, because the server (moto, a process beside this one) is the
slower of the two and shares the machine; files/s say what that leaves.

    python -m benchmarks.upload [--quick] [--json FILE]
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.reporting import Gate, finish, parse_options
from resources.objects import ObjectStore

FILES, SIZE = 500, 60_000
QUICK_FILES = 100
THREADS = 16
ROUNDS = 5  # the least of; the machine may be busy
CPU_GATE = 0.4
KEYS = {"access_key_id": "benchmark", "secret_access_key": "benchmark"}
BUCKET = "benchmark"


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """A moto server of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for(port, server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-500:]}")


def with_ours(endpoint: str, files: list[Path], prefix: str) -> None:
    store = ObjectStore.at(f"s3://{BUCKET}/{prefix}", endpoint=endpoint, region="us-east-1", **KEYS)
    manifest = store.put_many([(file.name, file) for file in files], concurrency=THREADS)
    assert manifest.uploaded == len(files)


def with_boto3(client: Any, files: list[Path], prefix: str) -> None:
    def upload(file: Path) -> None:
        data = file.read_bytes()
        client.put_object(
            Bucket=BUCKET,
            Key=f"{prefix}/{file.name}",
            Body=data,
            ContentType="image/jpeg",
            Metadata={"sha256": hashlib.sha256(data).hexdigest()},
        )

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(upload, files))


def measured(work: Callable[..., None], *arguments: Any) -> tuple[float, float]:
    """CPU seconds of this process and all its threads, and seconds by the clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"film-{number:04}.jpg" for number in range(count)]
        for file in files:
            file.write_bytes(os.urandom(SIZE))
        with s3_server(folder / "server.log") as endpoint:
            client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name="us-east-1",
                config=Config(max_pool_connections=THREADS),
                **{f"aws_{name}": key for name, key in KEYS.items()},
            )
            client.create_bucket(Bucket=BUCKET)
            with_ours(endpoint, files[:THREADS], "warm/ours")
            with_boto3(client, files[:THREADS], "warm/boto3")
            rounds: dict[str, list[tuple[float, float]]] = {"ours": [], "boto3": []}
            for number in range(ROUNDS):  # in turn: what else the machine does hits both
                rounds["ours"].append(measured(with_ours, endpoint, files, f"{number}/ours"))
                rounds["boto3"].append(measured(with_boto3, client, files, f"{number}/boto3"))
            metadata = [
                client.head_object(Bucket=BUCKET, Key=f"0/{who}/{files[-1].name}")["Metadata"] for who in rounds
            ]
            assert metadata[0] == metadata[1] == {"sha256": hashlib.sha256(files[-1].read_bytes()).hexdigest()}
    numbers: dict[str, Any] = {"files": count, "bytes_per_file": SIZE}
    for who, seconds in rounds.items():
        numbers[f"{who}_cpu_ms_per_file"] = 1000 * min(cpu for cpu, _ in seconds) / count
        numbers[f"{who}_files_per_s"] = count / min(wall for _, wall in seconds)
    return numbers


def main() -> int:
    options = parse_options(__doc__)
    numbers = measure(QUICK_FILES if options.quick else FILES)
    ratio = numbers["ours_cpu_ms_per_file"] / numbers["boto3_cpu_ms_per_file"]
    return finish(
        options,
        numbers={**numbers, "cpu_ratio": ratio},
        columns=("upload to S3", "client CPU ms/file", "files/s"),
        rows=[
            (title, numbers[f"{who}_cpu_ms_per_file"], numbers[f"{who}_files_per_s"])
            for title, who in (("ours: put_many", "ours"), (f"boto3, {THREADS} threads", "boto3"))
        ],
        gates=[Gate("client CPU per file, ours / boto3", ratio, "at most", CPU_GATE)],
    )


if __name__ == "__main__":
    sys.exit(main())
