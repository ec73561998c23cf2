"""How well the leakage filter works, in numbers.

Belongs here: measuring. Does not belong here: the rules (leakage_rules.py), the audit corpus
(synthetic/corpus.py), and what is good enough (checks/mimic).

Three questions. Recall: is every planted term gone? Flag: does the mere fact of a redaction predict a
label, where terms were planted without looking at labels? Probe: can a bag-of-words model read a label from
filtered text better than from leak-free twins of the same texts? A filter that saw labels fails the second,
a leaky one the third.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mm_assets.learning.bootstrap import draw_patients, percentile_interval, replicate_metrics
from mm_assets.learning.metrics import auroc
from mm_assets.mimic.abbreviations import expand
from mm_assets.mimic.leakage import Redaction
from mm_assets.mimic.schema import LABELS

if TYPE_CHECKING:
    import pandas as pd

TRAIN_SHARE = 0.6
# Below this many positives on either side of the split a probe measures the draw, not the text.
MIN_POSITIVES = 10


@dataclass(frozen=True)
class FlagRow:
    """AUROC of the redaction flag for one label, with its bootstrap 95 % interval; .5 is no information."""

    label: str
    n_rows: int
    auroc: float
    low: float
    high: float


@dataclass(frozen=True)
class ProbeRow:
    """Bag-of-words AUROC of one label on held-out rows; `low` and `high` are the twin's bootstrap 95 %
    interval.
    """

    label: str
    n_positive: int
    before: float
    after: float
    twin: float
    low: float
    high: float

    @property
    def within_twin(self) -> bool:
        return self.low <= self.after <= self.high


@dataclass(frozen=True)
class Audit:
    """`recall`: share of planted terms gone; `clean_kept`: share of leak-free texts left as they were;
    `restored`: share of leaky texts that became their twin. Labels too rare to probe are in `not_probed`.
    """

    n_rows: int
    n_planted: int
    recall: float
    missed: tuple[str, ...]
    clean_kept: float
    restored: float
    flags: tuple[FlagRow, ...]
    probes: tuple[ProbeRow, ...]
    not_probed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For audit.json; `within_twin` is added to each probe."""
        return asdict(self) | {"probes": [asdict(probe) | {"within_twin": probe.within_twin} for probe in self.probes]}

    def headline(self) -> dict[str, float]:
        """The numbers a check judges. `flag_auroc_worst` is the one farthest from .5; `probe_excess` is the
        largest AUROC after filtering minus the twin's; `probes_outside` counts labels outside the twin's
        interval."""
        return {
            "recall": self.recall,
            "clean_kept": self.clean_kept,
            "restored": self.restored,
            "flag_auroc_worst": max(
                (row.auroc for row in self.flags), key=lambda a: abs(a - 0.5), default=float("nan")
            ),
            "flags_excluding_half": sum(not row.low <= 0.5 <= row.high for row in self.flags),
            "probes": len(self.probes),
            "probes_outside": sum(not row.within_twin for row in self.probes),
            "probe_excess": max((row.after - row.twin for row in self.probes), default=float("nan")),
        }

    def markdown(self) -> str:
        """The probes and flags as one Markdown table."""
        flags = {row.label: row for row in self.flags}
        lines = [
            "| label | positives | before | after | twin | 95 % of twin | within | flag AUROC |",
            "|---|---:|---:|---:|---:|---|---|---:|",
        ]
        for row in self.probes:
            flag = f"{flags[row.label].auroc:.3f}" if row.label in flags else ""
            lines.append(
                f"| {row.label} | {row.n_positive} | {row.before:.3f} | {row.after:.3f} | {row.twin:.3f} "
                f"| {row.low:.3f} to {row.high:.3f} | {'yes' if row.within_twin else 'NO'} | {flag} |"
            )
        return "\n".join(lines)

    def probes_table(self) -> pa.Table:
        """For probes.parquet: one row per probed label with the columns of ProbeRow and `within_twin`."""
        rows = [asdict(probe) | {"within_twin": probe.within_twin} for probe in self.probes]
        types = {"label": pa.string(), "n_positive": pa.int64(), "within_twin": pa.bool_()}
        names = ("label", "n_positive", "before", "after", "twin", "low", "high", "within_twin")
        return pa.Table.from_pylist(rows, schema=pa.schema([(n, types.get(n, pa.float64())) for n in names]))


@dataclass(frozen=True)
class RealProbe:
    """Bag-of-words AUROC of one label on actual texts before and after filtering. For information: there is
    no twin.
    """

    label: str
    n_positive: int
    before: float
    after: float


def audit(
    corpus: "pd.DataFrame", redact: Callable[[str], Redaction], *, replicates: int = 1000, seed: int = 0
) -> Audit:
    """Audit `redact` on the synthetic corpus.

    corpus: one row per text with `complaint_leaky`, `complaint_clean` (its twin without planted terms),
    `planted_terms` (list of str), `planted_independent` (bool) and the 14 labels (1/0). Deterministic in
    `seed`.
    """
    leaky, clean = corpus["complaint_leaky"].tolist(), corpus["complaint_clean"].tolist()
    redactions = [redact(text) for text in leaky]
    filtered = [redaction.text for redaction in redactions]
    planted = [(term, text) for terms, text in zip(corpus["planted_terms"], filtered, strict=True) for term in terms]
    missed = sorted({term for term, text in planted if _contains(text, term)})
    n_missed = sum(_contains(text, term) for term, text in planted)
    is_leaky = [a != b for a, b in zip(leaky, clean, strict=True)]
    restored = [a == b for a, b, leak in zip(filtered, clean, is_leaky, strict=True) if leak]

    labels = corpus[list(LABELS)].to_numpy(dtype=float)
    probes, not_probed = _probe_twins(leaky, filtered, clean, labels, replicates, seed)
    return Audit(
        n_rows=len(corpus),
        n_planted=len(planted),
        recall=1 - n_missed / len(planted) if planted else float("nan"),
        missed=tuple(missed),
        clean_kept=float(np.mean([redact(text).text == text for text in clean])),
        restored=float(np.mean(restored)) if restored else float("nan"),
        flags=_flag_rows(corpus, redactions, labels, replicates, seed),
        probes=probes,
        not_probed=not_probed,
    )


def probe_real(
    original: Sequence[str], filtered: Sequence[str], labels: np.ndarray, groups: Sequence[int] | np.ndarray,
    *, seed: int = 0,
) -> list[RealProbe]:  # fmt: skip
    """The probe on actual texts, before and after filtering, split by patient.

    labels: [N, 14] raw values in the order of LABELS; rows whose value is neither 1, 0 nor blank are left
    out of that label (blank counts as 0). groups: patient of each row. Labels with too few positives are
    left out.
    """
    train = _train_rows(groups, seed)
    before, after = _features(list(original), train), _features(list(filtered), train)
    rows = []
    for column, label in enumerate(LABELS):
        known = labels[:, column] != -1
        y = (labels[:, column] == 1).astype(int)
        if _can_probe(y, train & known, ~train & known):
            fit, held = train & known, ~train & known
            scores = [_scores(x, y, fit)[held] for x in (before, after)]
            rows.append(RealProbe(label, int(y[held].sum()), *(auroc(s, y[held]) for s in scores)))
    return rows


def real_probe_table(rows: Sequence[RealProbe]) -> pa.Table:
    """One row per probed label with the columns of RealProbe."""
    types = {"label": pa.string(), "n_positive": pa.int64(), "before": pa.float64(), "after": pa.float64()}
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=pa.schema(list(types.items())))


def _contains(text: str, term: str) -> bool:
    return f" {_plain(term)} " in f" {_plain(text)} "


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() or c == "/" else " " for c in text.lower()).split())


def _flag_rows(
    corpus: "pd.DataFrame", redactions: list[Redaction], labels: np.ndarray, replicates: int, seed: int
) -> tuple[FlagRow, ...]:
    # Rows whose term was chosen by the label are left out: there any honest filter's flag follows the label.
    unplanted = np.array([len(terms) == 0 for terms in corpus["planted_terms"]])
    use = corpus["planted_independent"].to_numpy(dtype=bool) | unplanted
    flag = np.array([redaction.n_redactions > 0 for redaction in redactions], dtype=float)[use]
    y = labels[use]
    intervals = _intervals(np.repeat(flag[:, None], len(LABELS), axis=1), y, replicates, seed)
    return tuple(
        FlagRow(label, int(use.sum()), auroc(flag, y[:, i]), *intervals[i])
        for i, label in enumerate(LABELS)
        if 0 < y[:, i].sum() < len(y)
    )


def _probe_twins(
    leaky: list[str], filtered: list[str], clean: list[str], labels: np.ndarray, replicates: int, seed: int
) -> tuple[tuple[ProbeRow, ...], tuple[str, ...]]:
    train = _train_rows(np.arange(len(leaky)), seed)
    features = [_features(texts, train) for texts in (leaky, filtered, clean)]
    probed = [i for i in range(len(LABELS)) if _can_probe(labels[:, i], train, ~train)]
    if not probed:
        return (), LABELS
    # [version of the text, held-out row, label]
    scores = np.stack([np.stack([_scores(x, labels[:, i], train)[~train] for i in probed], axis=1) for x in features])
    y = labels[~train][:, probed]
    intervals = _intervals(scores[2], y, replicates, seed)
    rows = tuple(
        ProbeRow(
            LABELS[label],
            int(y[:, k].sum()),
            before=auroc(scores[0][:, k], y[:, k]),
            after=auroc(scores[1][:, k], y[:, k]),
            twin=auroc(scores[2][:, k], y[:, k]),
            low=intervals[k][0],
            high=intervals[k][1],
        )
        for k, label in enumerate(probed)
    )
    return rows, tuple(label for i, label in enumerate(LABELS) if i not in probed)


def _intervals(scores: np.ndarray, targets: np.ndarray, replicates: int, seed: int) -> list[tuple[float, float]]:
    """Bootstrap 95 % interval of the AUROC per column of [N, L], rows drawn independently."""
    resamples = draw_patients(np.arange(len(scores)), replicates, seed)
    drawn = replicate_metrics(scores, targets, np.ones(targets.shape, dtype=bool), resamples).auroc
    intervals = [percentile_interval(drawn[:, i]) for i in range(drawn.shape[1])]
    return [(interval.low, interval.high) for interval in intervals]


def _train_rows(groups: Sequence[int] | np.ndarray, seed: int) -> np.ndarray:
    """Boolean [N]: rows of the patients that the probes are fitted on."""
    distinct = np.unique(np.asarray(groups))
    shuffled = np.random.default_rng([seed, 0x1EAF]).permutation(distinct)
    return np.isin(np.asarray(groups), shuffled[: round(TRAIN_SHARE * len(distinct))])


def _can_probe(y: np.ndarray, train: np.ndarray, held: np.ndarray) -> bool:
    return all(min((y[rows] == 1).sum(), (y[rows] != 1).sum()) >= MIN_POSITIVES for rows in (train, held))


def _features(texts: list[str], train: np.ndarray) -> Any:
    """Sparse TF-IDF of words and word pairs, vocabulary from the training rows, abbreviations written out
    as in notes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [expand(text) for text in texts]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    vectorizer.fit([text for text, use in zip(texts, train, strict=True) if use])
    return vectorizer.transform(texts)


def _scores(features: Any, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Log-odds of every row from a logistic model fitted on the training rows."""
    from sklearn.linear_model import LogisticRegression

    # liblinear: several times faster than lbfgs on a few thousand sparse rows, and exact.
    model = LogisticRegression(solver="liblinear", class_weight="balanced", random_state=0)
    return model.fit(features[train], y[train] == 1).decision_function(features)
