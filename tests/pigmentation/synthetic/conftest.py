"""One small tree for all tests of the renderer."""

from pathlib import Path

import pytest

from mm_assets.pigmentation.synthetic.tree import SkinTreeConfig, SkinTreeReport, write_tree


@pytest.fixture(scope="session")
def skin_config() -> SkinTreeConfig:
    return SkinTreeConfig(patients=36, rgb_px=64, cube_px=16, seed=3, jobs=1)


@pytest.fixture(scope="session")
def skin_tree(skin_config: SkinTreeConfig, tmp_path_factory: pytest.TempPathFactory) -> SkinTreeReport:
    return write_tree(tmp_path_factory.mktemp("skin") / "tree", skin_config, progress=False)


@pytest.fixture(scope="session")
def skin_root(skin_tree: SkinTreeReport) -> Path:
    return skin_tree.root
