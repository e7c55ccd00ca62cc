"""Load a pool's CSV with the reader of the Lightly Worker's own package and compare it bit for bit.

Run by `tox -e lightly`, in an environment without lightpool: argument 1 is `datapool_latest.csv`, argument 2 an
`.npz` with the arrays `filenames`, `embeddings` (float32) and `labels` of the same pool.
"""

from __future__ import annotations

import sys

import numpy as np
from lightly.utils.io import load_embeddings


def main() -> None:
    embeddings, labels, filenames = load_embeddings(sys.argv[1])
    wanted = np.load(sys.argv[2])
    assert filenames == wanted["filenames"].tolist()
    assert list(labels) == wanted["labels"].tolist()
    read = np.asarray(embeddings).astype(np.float32)
    assert np.array_equal(read.view(np.uint32), wanted["embeddings"].view(np.uint32))
    print(f"{len(filenames)} samples of dimension {read.shape[1]}: equal bit for bit in float32")


if __name__ == "__main__":
    main()
