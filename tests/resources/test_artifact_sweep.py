"""Which versions a sweep removes, and above all which it does not."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from resources.artifacts import Artifact, ArtifactStore


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    home = str(tmp_path / "home") if request.param == "file" else f"memory://{uuid.uuid4().hex}"
    return ArtifactStore(home, tmp_path / "scratch")


def publish(
    store: ArtifactStore,
    asset: str,
    content: object,
    upstream: dict[str, str] | None = None,
    partition: str | None = None,
) -> Artifact:
    with store.draft("mimic", asset, partition) as draft:
        draft.write_json("c.json", content)
        return draft.publish(upstream=upstream or {}, synthetic=True, run_id=None)


def test_the_newest_stay_and_older_ones_go(store: ArtifactStore) -> None:
    versions = [publish(store, "links", number).version for number in range(5)]
    assert store.sweep(keep=2) == sorted(f"mimic/links/{version}" for version in versions[:3])
    assert store.history("mimic", "links") == [versions[4], versions[3]]
    assert store.sweep(keep=2) == []


def test_the_current_version_stays_whatever_keep_says(store: ArtifactStore) -> None:
    first, second = publish(store, "links", 1), publish(store, "links", 2)
    publish(store, "links", 1)
    assert store.sweep(keep=0) == [second.folder]
    assert store.read_json(store.current("mimic", "links"), "c.json") == 1
    assert store.history("mimic", "links") == [first.version]


def test_upstreams_of_current_versions_stay_however_far(store: ArtifactStore) -> None:
    tables = publish(store, "tables", "old")
    links = publish(store, "links", "old", {"mimic/tables": tables.version})
    publish(store, "model", 1, {"mimic/links": links.version})
    dead = publish(store, "tables", "between")
    for asset in ("tables", "links"):
        publish(store, asset, "new")
    assert store.sweep(keep=1) == [dead.folder]
    model = store.current("mimic", "model")
    found = store.open_version("mimic", "links", model.upstream["mimic/links"])
    assert store.read_json(store.open_version("mimic", "tables", found.upstream["mimic/tables"]), "c.json") == "old"


def test_partitions_behind_a_digest_stay(store: ArtifactStore) -> None:
    used = {name: publish(store, "phase1", f"{name} used", partition=name) for name in ("p10", "p11")}
    publish(store, "phase3", 1, {"mimic/phase1": store.version("mimic", "phase1")})
    between = publish(store, "phase1", "between", partition="p10")
    publish(store, "phase1", "new", partition="p10")
    assert store.sweep(keep=1) == [between.folder]
    versions = store.current("mimic", "phase3").upstream_partitions["mimic/phase1"]
    assert versions == {name: artifact.version for name, artifact in used.items()}
    assert store.read_json(store.open_version("mimic", "phase1", versions["p10"], "p10"), "c.json") == "p10 used"


def test_one_partition_may_be_named_as_upstream(store: ArtifactStore) -> None:
    used = publish(store, "phase1", "used", partition="p10")
    publish(store, "image_features", 1, {"mimic/phase1/p10": used.version}, partition="p10")
    publish(store, "phase1", "new", partition="p10")
    assert store.sweep(keep=0) == []


def test_what_is_not_ours_below_home_stays(store: ArtifactStore) -> None:
    publish(store, "links", 1)
    others = ("readme.txt", "dagster/storage/runs.db", "mimic/notes.txt", "mimic/links/notes.txt")
    for path in others:
        store.objects.put(path, b"-")
    assert store.sweep(keep=0) == []
    assert all(store.objects.head(path) for path in others)


def test_the_draft_of_a_live_process_stays(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from resources.artifacts import ArtifactStore\n"
        "with ArtifactStore(sys.argv[1], Path(sys.argv[2])).draft('w', 'a') as draft:\n"
        "    draft.write_text('x', 'y'); print('ready', flush=True); sys.stdin.readline()\n"
        "    draft.publish(upstream={}, synthetic=False, run_id=None)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "home"), str(tmp_path / "scratch")],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    assert store.sweep(keep=0) == []
    with store.draft("w", "b") as own:
        own.write_text("x", "y")
        assert store.sweep(keep=0) == []
        assert own.path("x").is_file()
    process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert store.current("w", "a").files[0].path == "x"


def test_drafts_from_before_their_lock_go_after_an_hour(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    young, old = (tmp_path / "scratch" / "drafts" / f".new-w.a.{age}" for age in ("young", "old"))
    for folder in (young, old):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 4000,) * 2)
    assert store.sweep() == ["draft .new-w.a.old"]
    assert young.is_dir()


def test_what_another_store_was_made_of_stays_when_both_are_swept(store: ArtifactStore, tmp_path: Path) -> None:
    party = ArtifactStore(str(tmp_path / "party"), tmp_path / "party scratch")
    origin = publish(store, "source", "used")
    records = publish(party, "org2_records", "used", {"mimic/source": origin.version})
    publish(store, "model", 1, {"mimic/org2_records": records.version})
    forgotten = publish(party, "org2_records", "forgotten")
    for home, asset in ((store, "source"), (party, "org2_records")):
        publish(home, asset, "new")
    # Twice the same store is once.
    assert store.sweep(keep=1, beside=[party, store, party]) == [forgotten.folder]
    assert party.read_json(party.open_version("mimic", "org2_records", records.version), "c.json") == "used"
    assert store.read_json(store.open_version("mimic", "source", origin.version), "c.json") == "used"
    alone = ArtifactStore(str(tmp_path / "party"), tmp_path / "party scratch")
    assert alone.sweep(keep=1) == [records.folder]
