"""Cut the bundled Fashion-MNIST subset from the official IDX files.

    python datasets/bundled/make_fashion_mnist_mini.py /usr/share/datasets/fashion-mnist

The subset is stratified and seeded: 600 train and 200 val images per class from the official train file, 400 test images
per class from the official test file. The sample id of an image is its index in the official file, so the bundle can be
compared with its source. Running this script again gives the same bytes.
"""

import gzip
import hashlib
import lzma
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save

SEED = 20230800255
PER_CLASS = {"train": 600, "val": 200, "test": 400}
TARGET = Path(__file__).with_name("fashion_mnist_mini.safetensors.xz")


def read_idx(folder: Path, stem: str) -> np.ndarray:
    """The array of one gzipped IDX file of unsigned bytes."""
    raw = gzip.decompress((folder / f"{stem}.gz").read_bytes())
    dimensions = raw[3]
    shape = np.frombuffer(raw, dtype=">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def pick(labels: np.ndarray, counts: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Disjoint stratified index sets, set i with ``counts[i]`` samples of every class, in ascending order."""
    chosen: list[list[np.ndarray]] = [[] for _ in counts]
    for label in range(10):
        shuffled = rng.permutation(np.flatnonzero(labels == label))
        for part, (start, count) in enumerate(zip(np.cumsum([0, *counts]), counts, strict=False)):
            chosen[part].append(shuffled[start : start + count])
    return [np.sort(np.concatenate(parts)) for parts in chosen]


def main(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    train_images, train_labels = (read_idx(folder, f"train-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (read_idx(folder, f"t10k-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    train, val = pick(train_labels, [PER_CLASS["train"], PER_CLASS["val"]], rng)
    (test,) = pick(test_labels, [PER_CLASS["test"]], rng)
    tensors = {}
    for split, images, labels, index in (
        ("train", train_images, train_labels, train),
        ("val", train_images, train_labels, val),
        ("test", test_images, test_labels, test),
    ):
        tensors[f"{split}/images"] = np.ascontiguousarray(images[index])
        tensors[f"{split}/labels"] = np.ascontiguousarray(labels[index])
        tensors[f"{split}/sample_id"] = index.astype(np.int32)
    packed = lzma.compress(save(tensors), preset=9 | lzma.PRESET_EXTREME)
    TARGET.write_bytes(packed)
    print(f"{TARGET}: {len(packed):,} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
