"""One small tree for all tests of the generator."""

from pathlib import Path

import pytest

from mm_assets.mimic.synthetic.tree import TreeConfig, TreeReport, write_tree


@pytest.fixture(scope="session")
def config() -> TreeConfig:
    return TreeConfig({"train": 60, "validate": 12, "test": 20}, scale=0.03, seed=3, jobs=1)


@pytest.fixture(scope="session")
def tree(config: TreeConfig, tmp_path_factory: pytest.TempPathFactory) -> TreeReport:
    return write_tree(tmp_path_factory.mktemp("mimic") / "tree", config, progress=False)


@pytest.fixture(scope="session")
def root(tree: TreeReport) -> Path:
    return tree.root
