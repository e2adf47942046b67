"""An order of points in which those near each other are together."""

import numpy as np


def directions(z: np.ndarray) -> np.ndarray:
    """Principal directions of the rows of z as columns, first those along which they differ most."""
    if len(z) <= z.shape[1]:
        return np.linalg.svd(z, full_matrices=False)[2].T
    return np.linalg.eigh(z.T @ z)[1][:, ::-1]


def by_neighbourhood(points: np.ndarray, block: int) -> np.ndarray:
    """An order in which the rows of a block are near each other: halved along the leading direction, repeatedly."""
    out, todo = [], [np.arange(len(points))]
    while todo:
        rows = todo.pop()
        if len(rows) <= block:
            out.append(rows)
            continue
        part = points[rows] - points[rows].mean(0)
        along = part @ np.linalg.eigh(part.T @ part)[1][:, -1]
        half = max(1, len(rows) // block // 2) * block
        split = np.argpartition(along, half - 1)
        todo += [rows[split[half:]], rows[split[:half]]]
    return np.concatenate(out)
