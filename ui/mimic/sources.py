"""Source trees of the wing before they are run: `mm verify mimic` and `mm synth mimic`.

Belongs here: calling the wing's modules with the settings, and the terminal's view of what they say.
Does not belong here: what makes a tree complete (mimic/verify.py) and what a synthetic one holds (mimic/synthetic).
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from resources.settings import Settings
from ui.verifying import NothingToVerify, require_new_folder


def verify_configured(settings: Settings) -> dict[str, Any]:
    """Findings and the estimate of a run as plain values; `errors` counts what stands in the way."""
    from mm_assets.mimic.published import store_opener
    from mm_assets.mimic.source import configured_source
    from mm_assets.mimic.verify import ESTIMATE_LEAVES_OUT, verify

    source = configured_source(settings.mimic_cxr_url, settings.mimic_ed_url, settings.mimic_iv_url)
    if source is None:
        raise NothingToVerify(
            "no source is configured: set MM_MIMIC_CXR_URL and MM_MIMIC_ED_URL (and MM_MIMIC_IV_URL), "
            "or write a synthetic tree with `mm synth mimic --to DIR`"
        )
    found = verify(source, store_opener(settings), settings)
    return {
        "source": asdict(source),
        "findings": [asdict(finding) for finding in found.findings],
        "estimate": asdict(found.estimate) if found.estimate else None,
        "estimate_leaves_out": ESTIMATE_LEAVES_OUT,
        "errors": sum(finding.level == "error" for finding in found.findings),
    }


def print_estimate(report: Mapping[str, Any]) -> None:
    """What a run of the verified tree will take."""
    if estimate := report["estimate"]:
        Console(soft_wrap=True).print(
            f"\n{estimate['studies']:,} studies: reads {estimate['read_bytes'] / 1e9:.1f} GB, stores "
            f"{estimate['stored_bytes'] / 1e9:.1f} GB, about {estimate['wall_seconds'] / 60:.0f} min up to phase 3 "
            f"({estimate['cpu_seconds'] / 60:.0f} CPU-min), {estimate['memory_bytes'] / 1e9:.1f} GB of memory.\n"
            f"Not in it: {report['estimate_leaves_out']}.",
            highlight=False,
        )


def write_synthetic(to: Path, *, patients: int, seed: int, scale: float) -> list[str]:
    """Write a tree of about `patients` patients; returns the lines to print."""
    from mm_assets.mimic.synthetic.tree import TreeConfig, write_tree

    require_new_folder(to)
    report = write_tree(to, TreeConfig.for_patients(patients, seed=seed, scale=scale))
    return [
        report.describe(),
        "use it as a source:",
        f"  export MM_MIMIC_CXR_URL={to.absolute() / 'cxr'}",
        f"  export MM_MIMIC_ED_URL={to.absolute() / 'ed'}",
        f"  export MM_MIMIC_IV_URL={to.absolute() / 'iv'}",
    ]
