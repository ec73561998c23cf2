"""From a party's rows to what its network reads: fitted on that party's train rows, stored in the bundle.

Belongs here: which columns a party may have, features with their statistics, the one target. Does not belong here:
databases (party_tables.py), ids (ids.py), X-rays, networks.

Each party fits its own; nothing of the other party enters it, and what it stores are statistics, no row. Exactly one
target exists over all parties: the label holder's label. A second one would be read as a feature and give the answer
away, so it is refused by name.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from mm_assets.cloud_vision.schema import (
    CLASSES,
    LABEL_COLUMN,
    LABEL_HOLDER,
    ORG2_FEATURES,
    ORG2_SCHEMA,
    ORG3_FEATURES,
    ORG3_SCHEMA,
    ORGANISATIONS,
    SPLIT_COLUMN,
    Organisation,
)
from resources.errors import MendableError

PARTY_SCHEMAS: dict[Organisation, pa.Schema] = {"org2": ORG2_SCHEMA, "org3": ORG3_SCHEMA}
PARTY_FEATURES: dict[Organisation, tuple[str, ...]] = {"org2": ORG2_FEATURES, "org3": ORG3_FEATURES}
FITTED_ON = "train"

# Columns that other people keep a label in. All unknown columns are refused; these with the reason that fits.
_LIKE_A_LABEL = re.compile(r"label|target|class|diagnos|outcome|^y$")
# Share of a feature's largest value below which its spread is rounding: it is constant, and is left unscaled.
_LEAST_SPREAD = 1e-9

PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]


class WrongPartyColumns(MendableError):
    """A table lacks columns of its party, has others, or has them with another type."""


class LabelInWrongParty(WrongPartyColumns):
    """A label lies with a party that must not have one."""


class SecondLabel(WrongPartyColumns):
    """There is a label beside the one target."""


class ValuesUnfit(MendableError):
    """Values that no network can be trained on or asked about."""


class PreprocessorUnfit(MendableError):
    """A stored preprocessor is not one, or several do not make up one model's."""


class TabularPreprocessor(BaseModel):
    """One party's features, standardised with the mean and deviation of its train rows; missing ones become the
    median of the train rows. ``target`` is the label holder's label, and None at any other party."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    party: Organisation
    features: tuple[str, ...]
    target: str | None
    mean: tuple[FiniteFloat, ...]
    std: tuple[PositiveFloat, ...]  # 1 where the train rows have one value only
    median: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _fits_its_party(self) -> Self:
        if self.features != PARTY_FEATURES[self.party]:
            raise ValueError(f"features of {self.party} are {', '.join(PARTY_FEATURES[self.party])}")
        if self.target != _target_of(self.party):
            raise ValueError(f"the target of {self.party} is {_target_of(self.party)}")
        for name in ("mean", "std", "median"):
            if len(getattr(self, name)) != len(self.features):
                raise ValueError(f"{name} needs one value per feature")
        return self

    @classmethod
    def fit(cls, table: pa.Table, party: Organisation) -> Self:
        """Statistics of the rows whose split is train; no other row has any influence.

        Raises WrongPartyColumns (or LabelInWrongParty, SecondLabel), ValuesUnfit.
        """
        features = PARTY_FEATURES[party]
        check_party_columns(table.column_names, party, required=(*features, SPLIT_COLUMN))
        values = _measured(table.filter(pc.equal(table[SPLIT_COLUMN], FITTED_ON)), party)
        if not len(values):
            raise ValuesUnfit(f"{party} has no row whose {SPLIT_COLUMN} is {FITTED_ON!r}: nothing can be fitted")
        empty = [name for name, column in zip(features, values.T, strict=True) if np.isnan(column).all()]
        if empty:
            raise ValuesUnfit(f"{party} has no value of {', '.join(empty)} in its train rows: fill the column")
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std, median = np.nanmean(values, 0), np.nanstd(values, 0), np.nanmedian(values, 0)
        std[std <= _LEAST_SPREAD * np.nanmax(np.abs(values), 0)] = 1.0
        unfit = ~(np.isfinite(mean) & np.isfinite(std) & np.isfinite(median))
        if unfit.any():
            raise ValuesUnfit(_too_large(party, unfit))
        return cls(
            party=party, features=features, target=_target_of(party), mean=tuple(mean.tolist()),
            std=tuple(std.tolist()), median=tuple(median.tolist()),
        )  # fmt: skip

    def transform(self, table: pa.Table) -> np.ndarray:
        """float32 [N, features], finite, in the table's order. The label and other columns of the party may be there
        and are not read.

        Raises WrongPartyColumns (or LabelInWrongParty, SecondLabel), ValuesUnfit.
        """
        check_party_columns(table.column_names, self.party, required=self.features)
        values = _measured(table, self.party)
        values = np.where(np.isnan(values), np.array(self.median), values)
        with np.errstate(over="ignore"):
            scaled = ((values - np.array(self.mean)) / np.array(self.std)).astype(np.float32)
        unfit = ~np.isfinite(scaled).all(0)
        if unfit.any():
            raise ValuesUnfit(_too_large(self.party, unfit))
        return scaled

    def targets(self, table: pa.Table) -> np.ndarray:
        """int64 [N]: places in CLASSES, in the table's order.

        Raises LabelInWrongParty when this party has no target, WrongPartyColumns, ValuesUnfit.
        """
        if self.target is None:
            raise LabelInWrongParty(f"{self.party} has no target: ask {LABEL_HOLDER}, which holds the label")
        check_party_columns(table.column_names, self.party, required=(self.target,))
        column = table[self.target]
        if not pa.types.is_integer(column.type):
            raise WrongPartyColumns(f"{self.target} is of type {column.type}: store the place in {list(CLASSES)}")
        found = column.combine_chunks()
        beyond = pc.sum(pc.or_(pc.less(found, 0), pc.greater_equal(found, len(CLASSES)))).as_py()
        bad = found.null_count + (beyond or 0)
        if bad:
            raise ValuesUnfit(
                f"{bad} of {len(found)} labels are missing or not between 0 and {len(CLASSES) - 1}: correct or leave "
                "out these rows"
            )
        return found.to_numpy(zero_copy_only=False).astype(np.int64)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``as_json`` gave, to the bit. Raises PreprocessorUnfit, naming what does not fit."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'party'}: {item['msg']}" for item in error.errors())
            raise PreprocessorUnfit(
                f"a party's stored preprocessor does not fit ({told}): train the model again"
            ) from None


def check_one_target(preprocessors: Sequence[TabularPreprocessor]) -> None:
    """A model's preprocessors: one per organisation, exactly one of them with a target. Raises PreprocessorUnfit."""
    parties = sorted(preprocessor.party for preprocessor in preprocessors)
    targets = [preprocessor.party for preprocessor in preprocessors if preprocessor.target is not None]
    if parties != sorted(ORGANISATIONS) or len(targets) != 1:
        raise PreprocessorUnfit(
            f"preprocessors of {', '.join(parties) or 'nobody'} with {len(targets)} targets: a model has one of "
            f"each of {', '.join(ORGANISATIONS)}, and one target, that of {LABEL_HOLDER}"
        )


def check_party_columns(names: Sequence[str], party: Organisation, *, required: Collection[str]) -> None:
    """Raises LabelInWrongParty, SecondLabel or WrongPartyColumns, each with the names of the columns, never a value."""
    known = PARTY_SCHEMAS[party].names
    extra = [name for name in names if name not in known] + [name for name in known if list(names).count(name) > 1]
    labels = [name for name in extra if _LIKE_A_LABEL.search(name.strip().casefold())]
    if labels and party != LABEL_HOLDER:
        raise LabelInWrongParty(
            f"{party}'s table has {_quoted(labels)}, a label, which only {LABEL_HOLDER} may hold: remove it there"
        )
    if labels:
        raise SecondLabel(
            f"{party}'s table has {_quoted(labels)}, but exactly one target is allowed, {LABEL_COLUMN!r}: keep that one"
        )
    if extra:
        raise WrongPartyColumns(
            f"{party}'s table has {_quoted(extra)}; it may have {_quoted(known)}: remove the others"
        )
    missing = [name for name in required if name not in names]
    if missing:
        raise WrongPartyColumns(f"{party}'s table lacks {_quoted(missing)} (it has {_quoted(names)}): add them")


def _measured(table: pa.Table, party: Organisation) -> np.ndarray:
    """float64 [N, features] with NaN for missing."""
    columns = []
    for name in PARTY_FEATURES[party]:
        kind = table[name].type
        if not is_number(kind):
            raise WrongPartyColumns(f"{name} of {party} is of type {kind}: store it as a number")
        values = pc.fill_null(table[name].cast(pa.float64(), safe=False), np.nan).to_numpy()
        if np.isinf(values).any():
            raise ValuesUnfit(f"{name} of {party} holds infinite values: correct them, or leave them empty")
        columns.append(values)
    return np.stack(columns, 1)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is a feature; ``null`` is one that has no value at all."""
    types = pa.types
    return types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind) or types.is_null(kind)


def _target_of(party: Organisation) -> str | None:
    return LABEL_COLUMN if party == LABEL_HOLDER else None


def _too_large(party: Organisation, unfit: np.ndarray) -> str:
    names = [name for name, found in zip(PARTY_FEATURES[party], unfit, strict=True) if found]
    return f"{', '.join(names)} of {party} holds values too large to be standardised: correct them"


def _quoted(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
