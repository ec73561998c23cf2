"""A model that had all columns in one place: what splitting the data may have cost is measured against it.

Belongs here: image features that nobody trained, and boosted trees on these and all ten table features. Does not belong
here: the split network, and judging either.

It shares nothing with the split network but the records: the X-ray becomes the mean strength of its fine to coarse
structure in each field of a grid (differences of Gaussians), which is frozen by being fixed in advance; the classifier
is scikit-learn's histogram gradient boosting.
"""

import numpy as np

from mm_assets.cloud_vision.row_files import CommonRows

POOLED = "pooled"
SCALES = (1.0, 2.0, 4.0, 8.0)  # px, standard deviations of the Gaussians
FIELDS = 8  # a side of the grid
ROUNDS, RATE, LEAVES = 150, 0.06, 8
_FAINTEST = 1e-4  # added before the logarithm, of full scale


def pooled_answers(rows: CommonRows, seed: int = 0) -> dict[str, np.ndarray]:
    """Log probabilities float32 [n, classes] of every split but train that has records; fitted on train alone."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = np.concatenate([rows.org2.features, rows.org3.features, film_structure(rows.org3.pixels)], 1)
    train = rows.places["train"]
    model = HistGradientBoostingClassifier(
        max_iter=ROUNDS, learning_rate=RATE, max_leaf_nodes=LEAVES, l2_regularization=1.0, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    model.fit(columns[train], rows.org2.labels[train])
    asked = {name: places for name, places in rows.places.items() if name != "train" and len(places)}
    return {
        name: np.log(np.maximum(model.predict_proba(columns[places]), 1e-30)).astype(np.float32)
        for name, places in asked.items()
    }


def film_structure(pixels: np.ndarray) -> np.ndarray:
    """Frozen features float32 [n, (scales + 1) * fields ** 2] of films uint8 [n, S, S]: the log of the mean size of
    what each scale takes away, and the mean of what is left, per field."""
    from scipy.ndimage import gaussian_filter

    films = pixels.astype(np.float32) / 255.0
    found, before = [], films
    for scale in SCALES:
        smooth = gaussian_filter(films, (0, scale, scale))
        found.append(np.log(_field_means(np.abs(before - smooth)) + _FAINTEST))
        before = smooth
    found.append(_field_means(before))
    return np.concatenate(found, 1)


def _field_means(values: np.ndarray) -> np.ndarray:
    """[n, S, S] -> [n, fields ** 2]; fields differ by a pixel where S is no multiple of their number."""
    edges = np.linspace(0, values.shape[1], FIELDS + 1).round().astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(values, edges, axis=1), edges, axis=2)
    sizes = np.diff(np.append(edges, values.shape[1]))
    means: np.ndarray = sums / np.outer(sizes, sizes)
    return means.reshape(len(values), -1).astype(np.float32)
