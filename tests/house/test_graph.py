"""The shape of the asset graph, held by a snapshot: a changed key, dependency, group or check must be meant."""

import json
import os
from pathlib import Path

import dagster as dg

from mm_assets.definitions import build_defs

SNAPSHOT = Path(__file__).with_name("graph.json")


def described() -> dict[str, object]:
    graph = build_defs().resolve_asset_graph()
    assets = {}
    for key in sorted(graph.materializable_asset_keys):
        node = graph.get(key)
        assets["/".join(key.path)] = {
            "deps": sorted("/".join(parent.path) for parent in node.parent_keys),
            "group": node.group_name,
            "partitioned": node.is_partitioned,
            "pools": sorted(node.pools or []),
            "checks": {
                check.name: "blocking" if graph.get_check_spec(check).blocking else "warning"
                for check in sorted(graph.asset_check_keys, key=lambda c: c.name)
                if check.asset_key == key
            },
        }
    return assets


def test_graph_is_the_one_we_meant() -> None:
    found = described()
    if os.environ.get("MM_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), "if meant: MM_UPDATE_SNAPSHOT=1 make test"


def test_definitions_load_and_every_job_resolves() -> None:
    defs = build_defs()
    dg.Definitions.validate_loadable(defs)
    assert {job.name for job in defs.resolve_all_job_defs()} >= {"mimic", "pigmentation", "everything"}


def test_every_asset_says_what_it_is() -> None:
    graph = build_defs().resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description and len(node.description) > 40, key
        assert node.owners and node.kinds, key
        assert node.code_version, key
