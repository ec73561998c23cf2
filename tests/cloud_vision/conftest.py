"""A small data set of two organisations, drawn once, and a home of its own for each test of the parties."""

import shutil

import pytest

from mm_assets.cloud_vision import party_process
from mm_assets.cloud_vision.party_work import STEPS
from mm_assets.cloud_vision.synthetic.dataset import XrayDataConfig, write_data
from resources.settings import Settings
from tests.cloud_vision.party_house import PartyHouse


@pytest.fixture(scope="session")
def party_data(tmp_path_factory):
    """A folder as the generator writes it; copy it before changing anything."""
    folder = tmp_path_factory.mktemp("parties") / "data"
    sizes = {"train": 24, "validate": 8, "test": 8, "shifted": 8}
    write_data(folder, XrayDataConfig(**sizes, px=192, jobs=1), progress=False)
    return folder


@pytest.fixture
def house(party_data, tmp_path, monkeypatch):
    """A PartyHouse in which nothing is published yet; its settings are in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MM_{name.upper()}", raising=False)
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    folder = tmp_path / "data"
    shutil.copytree(party_data, folder)
    return PartyHouse(folder)


@pytest.fixture
def one_process(monkeypatch):
    """Steps run in this process: for tests of what they do, of which each start would take seconds."""
    monkeypatch.setattr(party_process, "run_step", lambda access, job: STEPS[job["task"]](access, job))
