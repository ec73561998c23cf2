"""Answers of a released model: each organisation's preprocessing and bottom network, and the top, applied to one case.

Belongs here: loading a released folder and answering a case as the two organisations would. Does not belong here:
Grad-CAM's arithmetic and pictures (`explain.py`), training, writing a release (`release.py`).

The released model stands in one place, but an answer takes the way it takes between two: organisation 3's embedding
crosses as a message, and so does the gradient that Grad-CAM needs; what is told of bytes was counted on them.

Beside what every bundle has, model.json holds:

    labels          classes in the order of the logits
    architecture    fields of SplitConfig
    preprocessing   {"org2": `TabularPreprocessor`, "org3": the same, "image_px": side of what the network reads}
    temperature     one value, repeated for each label
    metrics         headline of the evaluation; ``accuracy_served`` of it is told with every answer
    baselines       accuracies on the test split by the name of who answers, of the network that is served
    leak            {"text": verdict on the defences, "leak_accuracy", "leak_guess": shares of labels}

The folder also holds ``org2_alone.safetensors`` and ``org3_alone.safetensors`` (CentralModel of one party), and
``examples.parquet`` where the data are synthetic.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch  # noqa: TID253

from mm_assets.cloud_vision.case import (
    EMBEDDING_WAY,
    GRADIENT_WAY,
    CaseWarning,
    ExampleCase,
    Features,
    SplitCase,
    SplitExplanation,
    SplitPrediction,
    SplitProvenance,
    UnusableFeature,
)
from mm_assets.cloud_vision.central_training import CentralModel, Parties, build_central
from mm_assets.cloud_vision.explain import grad_cam, read_mask, share_inside
from mm_assets.cloud_vision.party_preprocessing import TabularPreprocessor, ValuesUnfit, check_one_target
from mm_assets.cloud_vision.schema import CLASSES, FEATURES, ORG2_FEATURES, ORG3_FEATURES, ORGANISATIONS, Organisation
from mm_assets.cloud_vision.split_model import SplitConfig
from mm_assets.cloud_vision.wire import pack, unpack
from mm_assets.cloud_vision.xray_pixels import xray_pixels
from mm_assets.learning.bundle import BundleIncomplete, load_bundle, require_keys
from mm_assets.records.images import encode_jpeg, stored_image

EXAMPLES = "examples.parquet"
ALONE: dict[Organisation, str] = {party: f"{party}_alone.safetensors" for party in ORGANISATIONS}
ACCURACY_NAME = "Accuracy, test split"
SHOWN_PX = 512
# Standard deviations from the mean of train beyond which a value is worth a word.
UNCOMMON = 5.0


@dataclass(frozen=True, eq=False)
class _Inputs:
    """A case as the networks read it: features float32 [1, F], pixels uint8 [1, S, S]."""

    org2: torch.Tensor
    org3: torch.Tensor
    pixels: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Answer:
    probabilities: np.ndarray  # [classes]
    grad_cam: np.ndarray  # of the most probable class
    crossed: dict[str, int]


class SplitPredictor:
    """A released split model, ready to answer; safe to call from several threads."""

    def __init__(
        self,
        spec: dict[str, Any],
        joint: CentralModel,
        alone: dict[Organisation, CentralModel],
        provenance: SplitProvenance,
        examples: tuple[ExampleCase, ...] = (),
    ) -> None:
        self.provenance, self.examples = provenance, examples
        self.labels: tuple[str, ...] = tuple(spec["labels"])
        self._joint, self._alone = _frozen(joint), {party: _frozen(model) for party, model in alone.items()}
        stored = spec["preprocessing"]
        self._preprocessors = {party: TabularPreprocessor.from_json(stored[party]) for party in ORGANISATIONS}
        check_one_target(list(self._preprocessors.values()))
        self._image_px = int(stored["image_px"])
        self._temperature = float(spec["temperature"][0])
        self._held_out = {name: float(spec["baselines"][name]) for name in ("joint", "org2", "org3")}
        self._leak = leak_sentence(spec["leak"])
        self._known = {_digest(example.case.xray) for example in examples}

    @classmethod
    def load(cls, folder: Path, *, version: str, run_id: str | None) -> "SplitPredictor":
        """Read a released folder. Raises BundleIncomplete, SplitConfigError, PreprocessorUnfit."""
        bundle = load_bundle(folder)
        spec = bundle.spec
        require_keys(spec, ("labels", "temperature", "baselines", "leak"))
        config = SplitConfig.from_dict(spec["architecture"])
        metrics = spec["metrics"]
        provenance = SplitProvenance(
            model_version=version,
            run_id=run_id,
            data_version=spec["upstream"].get("cloud_vision/source", "unknown"),
            synthetic=spec["synthetic"],
            metric=ACCURACY_NAME,
            value=metrics.get("accuracy_served"),
            low=metrics.get("accuracy_served_ci_low"),
            high=metrics.get("accuracy_served_ci_high"),
        )
        alone = {party: _built(config, _weights(folder / ALONE[party]), party) for party in ORGANISATIONS}
        return cls(spec, _built(config, bundle.state_dict, "joint"), alone, provenance, read_examples(folder))

    def predict(self, case: SplitCase, *, explain: bool = False) -> SplitPrediction:
        """Answer one case; ``explain`` adds the map of Grad-CAM.

        Raises UnreadableImage where the X-ray cannot be read, UnusableFeature where a value cannot.
        """
        inputs = self._inputs(case)
        return self._prediction(case, inputs, self._answer(inputs), explain)

    def explained(self, case: SplitCase) -> tuple[SplitPrediction, SplitExplanation]:
        """The answer, the film and where on it the answer comes from. Raises UnreadableImage and UnusableFeature."""
        inputs = self._inputs(case)
        answer = self._answer(inputs)
        stored = stored_image(case.xray, SHOWN_PX)
        explanation = SplitExplanation(
            film=stored.jpeg,
            width=stored.width,
            height=stored.height,
            label=self.labels[int(answer.probabilities.argmax())],
            grad_cam=answer.grad_cam,
            mask=None if case.mask is None else read_mask(case.mask),
        )
        return self._prediction(case, inputs, answer), explanation

    def try_once(self) -> None:
        """Answer an example, or a grey square where the release has none; raises when this model cannot."""
        if self.examples:
            self.predict(self.examples[0].case)
        else:
            self.predict(SplitCase(xray=encode_jpeg(np.full((64, 64), 128, np.uint8))))

    def _prediction(self, case: SplitCase, inputs: _Inputs, answer: _Answer, explain: bool = False) -> SplitPrediction:
        mask = None if case.mask is None else read_mask(case.mask)
        return SplitPrediction(
            label=self.labels[int(answer.probabilities.argmax())],
            probabilities=self._named(answer.probabilities),
            alone={party: self._named(self._answer_alone(party, inputs)) for party in ORGANISATIONS},
            held_out=self._held_out,
            missing=_missing(case),
            crossed=answer.crossed,
            leak=self._leak,
            in_lesion=None if mask is None else share_inside(answer.grad_cam, mask),
            lesion_share=None if mask is None else float(mask.mean()),
            grad_cam=_rounded(answer.grad_cam) if explain else None,
            warnings=self._warnings(case, inputs),
            model_version=self.provenance.model_version,
            provenance=self.provenance,
        )

    def _inputs(self, case: SplitCase) -> _Inputs:
        pixels = torch.tensor(xray_pixels(case.xray, self._image_px))[None]
        return _Inputs(self._features("org2", case.org2), self._features("org3", case.org3), pixels)

    def _features(self, party: Organisation, values: Features) -> torch.Tensor:
        preprocessor = self._preprocessors[party]
        row = pa.table({name: pa.array([values.get(name)], pa.float64()) for name in preprocessor.features})
        try:
            return torch.from_numpy(preprocessor.transform(row))
        except ValuesUnfit as error:
            raise UnusableFeature("feature_too_large", f"{error}.") from error

    def _answer(self, inputs: _Inputs) -> _Answer:
        org2, org3, top = self._joint.org2, self._joint.org3, self._joint.top
        assert org2 is not None and org3 is not None
        # Organisation 3: its film and features become an embedding.
        with torch.no_grad():
            image_map = org3.image_map(inputs.pixels)
        image_map = image_map.requires_grad_()
        embedding = org3.embed(image_map, inputs.org3)
        sent = pack({"embedding": embedding})
        # Organisation 2: what came and its own features become the answer, and the gradient of that.
        received = unpack(sent)[0]["embedding"].requires_grad_()
        logits = top(org2(inputs.org2), received)
        [gradient] = torch.autograd.grad(logits[0, logits[0].argmax()], received)
        returned = pack({"gradient": gradient})
        # Organisation 3 again: back to its map of the film.
        [at_map] = torch.autograd.grad(embedding, image_map, unpack(returned)[0]["gradient"])
        return _Answer(
            probabilities=_probabilities(logits.detach(), self._temperature),
            grad_cam=grad_cam(image_map, at_map),
            crossed={EMBEDDING_WAY: len(sent), GRADIENT_WAY: len(returned)},
        )

    @torch.no_grad()
    def _answer_alone(self, party: Organisation, inputs: _Inputs) -> np.ndarray:
        return _probabilities(self._alone[party](inputs.org2, inputs.pixels, inputs.org3), 1.0)

    def _named(self, probabilities: np.ndarray) -> dict[str, float]:
        return {label: round(float(share), 4) for label, share in zip(self.labels, probabilities, strict=True)}

    def _warnings(self, case: SplitCase, inputs: _Inputs) -> list[CaseWarning]:
        found = []
        if self.provenance.synthetic and _digest(case.xray) not in self._known:
            message = "The model was trained on drawn X-rays: for a real one the answer means nothing."
            found.append(CaseWarning(code="synthetic_model", message=message))
        if not self.provenance.synthetic:
            message = "The X-rays of training were real, the ten features were made up: they mean nothing of a person."
            found.append(CaseWarning(code="synthetic_tables", message=message))
        scaled = torch.cat([inputs.org2, inputs.org3], 1)[0].tolist()
        far = [name for name, value in zip(FEATURES, scaled, strict=True) if abs(value) > UNCOMMON]
        if far:
            message = f"{', '.join(far)}: more than {UNCOMMON:g} standard deviations from the mean of the train rows."
            found.append(CaseWarning(code="uncommon_value", message=message))
        return found


def leak_sentence(leak: Mapping[str, Any]) -> str:
    """What the label-leak attack found, for whoever gets an answer."""
    return (
        f"Organisation 3 could read {leak['leak_accuracy']:.0%} of the train labels from the gradients it got, and "
        f"guess {leak['leak_guess']:.0%} without them; the served network was trained without a defence. Of the "
        f"defences that were tried: {leak['text']}."
    )


def read_examples(folder: Path) -> tuple[ExampleCase, ...]:
    """Cases of ``examples.parquet``, titled by class and by what is on the film; those alike are numbered."""
    listed = folder / EXAMPLES
    if not listed.is_file():
        return ()
    import pyarrow.parquet as pq

    examples: list[ExampleCase] = []
    alike: Counter[str] = Counter()
    for row in pq.read_table(listed).to_pylist():
        case = SplitCase(
            xray=row["xray"],
            org2={name: row[name] for name in ORG2_FEATURES},
            org3={name: row[name] for name in ORG3_FEATURES},
            mask=row["mask"],
            label=row["label"],
        )
        title = f"{CLASSES[row['label']]}, {row['pattern']} film"
        alike[title] += 1
        number = f" {alike[title]}" if alike[title] > 1 else ""
        examples.append(ExampleCase(f"{title}{number} (synthetic)", case))
    return tuple(examples)


def _built(config: SplitConfig, weights: dict[str, torch.Tensor], parties: Parties) -> CentralModel:
    model = build_central(config, 0, parties)
    model.load_state_dict(weights)
    return model


def _frozen(model: CentralModel) -> CentralModel:
    model.eval().requires_grad_(False)
    return model


def _weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise BundleIncomplete(f"{path} is missing or damaged: release the model again") from error


def _probabilities(logits: torch.Tensor, temperature: float) -> np.ndarray:
    return torch.softmax(logits[0].double() / temperature, 0).numpy()


def _missing(case: SplitCase) -> list[str]:
    given = {**case.org2, **case.org3}
    return [name for name in FEATURES if given.get(name) is None]


def _rounded(cam: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in cam]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
