"""One small data set for all tests of the generator."""

from pathlib import Path

import pytest

from mm_assets.cloud_vision.synthetic.dataset import XrayDataConfig, XrayDataReport, write_data


@pytest.fixture(scope="session")
def xray_config() -> XrayDataConfig:
    return XrayDataConfig(train=40, validate=10, test=20, shifted=20, px=192, seed=3, jobs=1)


@pytest.fixture(scope="session")
def xray_data(xray_config: XrayDataConfig, tmp_path_factory: pytest.TempPathFactory) -> XrayDataReport:
    return write_data(tmp_path_factory.mktemp("xrays") / "data", xray_config, progress=False)


@pytest.fixture(scope="session")
def xray_root(xray_data: XrayDataReport) -> Path:
    return xray_data.root
