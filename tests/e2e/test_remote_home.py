"""Whole wings with `MM_HOME` in a bucket that a user with no other right than on it may write to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mm_assets.learning.checkpoints import LAST
from resources.artifacts import ArtifactStore
from resources.control_plane import ensure_bucket
from resources.mirror import MIRROR_FOLDER
from resources.objects import ObjectStore
from tests.e2e.conftest import REPOSITORY, House
from tests.e2e.small_demo.test_killed import kill_when
from tests.servers.stores import S3Server, s3_server  # noqa: F401
from ui.released import ReleasedModel
from ui.wings import RunConfig, wings

pytestmark = pytest.mark.server

# So little that the numbers mean nothing; epochs enough to kill a training between two of them.
TINY: dict[str, RunConfig] = {
    "mimic": {
        "mimic/source": {"train_studies": 24, "validate_studies": 8, "test_studies": 12, "film_scale": 0.1},
        "mimic/model": {"max_epochs": 12},
        "mimic/evaluation": {"replicates": 50},
    },
    "pigmentation": {
        "pigmentation/source": {"patients": 24, "rgb_px": 96, "cube_px": 32},
        "pigmentation/lesions": {"stored_px": 96, "cube_px": 32},
        "pigmentation/model": {"epochs": 2, "image_size": 32, "width": 32},
        "pigmentation/evaluation": {"replicates": 50, "deletion_records": 4},
    },
    "cloud_vision": {
        "cloud_vision/source": {"train": 96, "validate_": 48, "test": 48, "shifted": 24, "px": 192},
        "cloud_vision/org2_features": {"image_px": 32},
        "cloud_vision/org3_features": {"image_px": 32},
        "cloud_vision/model": {"epochs": 2},
        "cloud_vision/misalignment": {"shares": [0.5]},
        "cloud_vision/evaluation": {"replicates": 50},
    },
}
# Who has a home, and a user, of their own beside MM_HOME; and what that home then holds.
PARTIES: dict[str, dict[str, list[str]]] = {
    "cloud_vision": {"org2": ["cloud_vision"], "org3": ["cloud_vision", "xrays"]},
}


@dataclass(frozen=True)
class Place:
    """A bucket of its own, with the one user who may write there."""

    url: str
    config: Mapping[str, Any]  # obstore's, of that user

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore.at(self.url, **self.config)

    @property
    def secret(self) -> bytes:
        return str(self.config["secret_access_key"]).encode()


@dataclass(frozen=True)
class RemoteHouse(House):
    """A house whose artifacts are in buckets; drafts, caches and Dagster's history stay in the folder."""

    wing: str
    place: Place
    parties: Mapping[str, Place]
    workers: int = 2

    def environment(self) -> dict[str, str]:
        config = self.place.config
        variables = {f"AWS_{name.upper()}": config[name] for name in ("access_key_id", "secret_access_key", "region")}
        variables |= {"AWS_ENDPOINT_URL": config["endpoint"], "MM_HOME": self.place.url}
        for party, place in self.parties.items():
            options = {name: value for name, value in place.config.items() if isinstance(value, str)}
            variables |= {f"MM_{party.upper()}_HOME": place.url, f"MM_{party.upper()}_STORE": json.dumps(options)}
        return {**super().environment(), **variables, "MM_WORKERS": str(self.workers)}

    @property
    def objects(self) -> ObjectStore:
        return self.place.objects

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.place.url, self.root / "scratch", **self.place.config)

    def on_another_machine(self, root: Path) -> "RemoteHouse":
        """The same home with an empty folder, and with one worker in place of two processes."""
        return replace(self, root=root, workers=1)

    def knobs(self) -> str:
        """Path of the file for `mm materialize --config`."""
        path = self.root / "tiny.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(TINY[self.wing])))
        return str(path)


def allowed(resource: str, *actions: str) -> dict[str, Any]:
    """A statement of an IAM policy."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def new_place(server: S3Server, name: str) -> Place:
    bucket = f"house-of-{name.replace('_', '-')}"
    ensure_bucket(f"s3://{bucket}", **server.config)
    # AWS judges a deletion of many by its objects, moto by the bucket; AWS judges a look at the bucket by the right to
    # list it, moto by one of its own.
    user = server.user(
        name,
        allowed(f"arn:aws:s3:::{bucket}", "s3:ListBucket", "s3:HeadBucket", "s3:DeleteObject"),
        allowed(f"arn:aws:s3:::{bucket}/mm/*", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
    )
    return Place(f"s3://{bucket}/mm", user)


@pytest.fixture(scope="module", params=TINY)
def remote(request: pytest.FixtureRequest, s3_server: S3Server, tmp_path_factory: Any) -> RemoteHouse:  # noqa: F811
    wing = request.param
    parties = {party: new_place(s3_server, party) for party in PARTIES.get(wing, {})}
    made = RemoteHouse(tmp_path_factory.mktemp(wing), wing, new_place(s3_server, wing), parties)
    made.mm("materialize", wing, "--config", made.knobs())
    return made


def test_every_asset_is_in_the_bucket_and_judged(remote: RemoteHouse) -> None:
    assets = remote.status(remote.wing)
    expected = json.loads((REPOSITORY / "tests/house/graph.json").read_text())
    assert sorted(f"{remote.wing}/{name}" for name in assets) == sorted(
        key for key in expected if key.startswith(f"{remote.wing}/")
    )
    for name, asset in assets.items():
        assert asset["version"] and asset["checks"]["failed"] == 0, name
        assert sum(asset["checks"].values()) == len(expected[f"{remote.wing}/{name}"]["checks"]), name
    assert not remote.home.exists() and remote.objects.folders() == [remote.wing]
    held = {party: place.objects.folders() for party, place in remote.parties.items()}
    assert held == PARTIES.get(remote.wing, {})


def test_no_secret_is_written(remote: RemoteHouse) -> None:
    places = [remote.place, *remote.parties.values()]
    files = [path for path in remote.root.rglob("*") if path.is_file()]
    assert len(files) > 20  # Dagster's history and copies of what was read
    texts = {str(path): path.read_bytes() for path in files}
    for place in places:
        records = [info.path for info in place.objects.list() if info.path.endswith(".json")]
        assert records
        texts |= {f"{place.url}/{path}": place.objects.get(path) for path in records}
    assert [name for name, text in texts.items() if any(place.secret in text for place in places)] == []


def test_a_server_loads_the_release_from_the_bucket(remote: RemoteHouse, tmp_path: Path) -> None:
    store = remote.on_another_machine(tmp_path).store
    released: ReleasedModel[Any] = ReleasedModel(store, remote.wing, wings()[remote.wing].load)
    assert released.refresh(), released.last_error
    assert released.current is not None and released.last_error is None
    assert released.current.version == store.version(remote.wing, "released_model")
    assert released.current.predictor.provenance.synthetic is True


def mirrored_epochs(house: RemoteHouse, to: Path) -> dict[str, int]:
    """Folder of a training run -> how many of its epochs are in the mirrored checkpoint."""
    found = {}
    for info in house.objects.list(MIRROR_FOLDER):
        if info.path.endswith(LAST):
            run = info.path.split("/")[-2]
            copy = house.objects.fetch(info.path, to / run / LAST)
            found[run] = len(torch.load(copy, weights_only=True)["curves"])
    return found


def trained_epochs(house: RemoteHouse, run: str) -> int:
    """How many epochs of the run were trained in this house: its own curves tell, for they are not mirrored."""
    folder = house.root / "scratch" / "training" / run / "tensorboard"
    if not folder.exists():
        return 0
    return len(EventAccumulator(str(folder)).Reload().Scalars("val_loss"))


@pytest.mark.parametrize("remote", ["mimic"], indirect=True)  # the wing whose training has checkpoints
def test_training_killed_here_goes_on_elsewhere(remote: RemoteHouse, tmp_path: Path) -> None:
    asset = f"{remote.wing}/model"
    undisturbed = remote.store.current(remote.wing, "model")
    total: dict[str, int] = {}
    for row in remote.store.read_table(undisturbed, "curves.parquet").to_pylist():
        run = f"train-{row['variant']}-{row['seed']}"
        total[run] = total.get(run, 0) + 1

    here = remote.on_another_machine(tmp_path / "here")
    command = ["materialize", asset, "--only", "--config", here.knobs()]
    kill_when(here, command, lambda: any(info.path.endswith(LAST) for info in here.objects.list(MIRROR_FOLDER)))
    mirrored = mirrored_epochs(here, tmp_path / "copies")
    assert mirrored and sum(mirrored.values()) < sum(total.values())
    assert remote.store.current(remote.wing, "model") == undisturbed

    elsewhere = remote.on_another_machine(tmp_path / "elsewhere")
    elsewhere.mm(*command)
    again = remote.store.current(remote.wing, "model")
    assert again.created_at > undisturbed.created_at and again.version == undisturbed.version
    for run, epochs in mirrored.items():
        name = run.rpartition("-")[0]
        assert trained_epochs(elsewhere, run) == total[name] - epochs, run
    assert list(remote.objects.list(MIRROR_FOLDER)) == []
