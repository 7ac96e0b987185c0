"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747): the full set and the bundled subset."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from datasets.api import SPLITS, Archive, DataError, DatasetCard, ImageSplit
from datasets.splits import SPLIT_SEED, hold_out

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# SHA-256 of the four official IDX files, uncompressed.
IDX_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
# MD5 of the four gzipped files, and their download address; both from torchvision 0.29.
PACKED_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
PUBLISHER = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
VAL_PER_CLASS = 600

BUNDLE = "fashion_mnist_mini.safetensors.xz"
BUNDLE_SHA256 = "fdb7bda8593cdad539f786e2b144cd6a9dac45ee63742f865238ed8a77ffd2a5"

CITATION = "Xiao, Rasul and Vollgraf (2017): Fashion-MNIST, arXiv 1708.07747"
LICENCE = "MIT (Zalando SE)"

MINI = DatasetCard(
    name="fashion-mnist-mini",
    target="datasets.fashion_mnist:read_bundle",
    summary="6,000 / 2,000 / 4,000 grey 28x28 photographs of garments, 10 classes; ships with the suite",
    classes=CLASSES,
    image_size=28,
    recipe_size=28,
    channels=1,
    mean=(0.2860,),
    std=(0.3530,),
    sizes={"train": 6_000, "val": 2_000, "test": 4_000},
    val_rule="200 a class of the official train set, stratified and seeded when the subset was made",
    fingerprint=BUNDLE_SHA256,
    licence=LICENCE,
    redistributable=True,
    citation=CITATION,
    how_to_get="it is part of the checkout: git checkout -- datasets/bundled",
    fixed_folders=(Path(__file__).with_name("bundled"),),
    markers=(BUNDLE,),
)
FULL = DatasetCard(
    name="fashion-mnist",
    target="datasets.fashion_mnist:read_full",
    summary="54,000 / 6,000 / 10,000 grey 28x28 photographs of garments, 10 classes",
    classes=CLASSES,
    image_size=28,
    recipe_size=28,
    channels=1,
    mean=(0.2860,),
    std=(0.3530,),
    sizes={"train": 54_000, "val": 6_000, "test": 10_000},
    val_rule=f"{VAL_PER_CLASS} a class of the official train set, stratified, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"{sorted(IDX_FILES.items())} {VAL_PER_CLASS} {SPLIT_SEED}".encode()).hexdigest(),
    licence=LICENCE,
    redistributable=True,
    citation=CITATION,
    how_to_get="apt-get install dataset-fashion-mnist, or set the folder of the four IDX files with --data-dir",
    seen_by=dict.fromkeys(("train", "val"), ("fashion-scenes",)),  # its photos are from both
    folders=("", "fashion-mnist", "FashionMNIST/raw"),
    fixed_folders=(DEBIAN_FOLDER,),
    markers=tuple(f"{name}{ending}" for name in IDX_FILES for ending in ("", ".gz")),
    archives=tuple(
        Archive(url=f"{PUBLISHER}{name}.gz", name=f"{name}.gz", md5=md5, folder="fashion-mnist")
        for name, md5 in PACKED_MD5.items()
    ),
)


def read_bundle(folder: Path) -> dict[str, ImageSplit]:
    """The splits of the bundled subset.

    Raises:
        DataError: the file cannot be read or is damaged.
    """
    path = folder / BUNDLE
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); {MINI.how_to_get}") from error
    if hashlib.sha256(packed).hexdigest() != BUNDLE_SHA256:
        raise DataError(f"{path} is damaged: its SHA-256 is not {BUNDLE_SHA256[:12]}...; {MINI.how_to_get}")
    try:
        tensors = load(lzma.decompress(packed))
    except (lzma.LZMAError, SafetensorError) as error:
        raise DataError(f"{path} cannot be unpacked ({error})") from error
    return {
        split: ImageSplit(
            tensors[f"{split}/images"][..., None],
            tensors[f"{split}/labels"].astype(np.int64),
            tensors[f"{split}/sample_id"].astype(np.int64),
        )
        for split in SPLITS
    }


def read_full(folder: Path) -> dict[str, ImageSplit]:
    """The splits from the official IDX files, gzipped or not.

    Val is a stratified, seeded sample of 600 images per class of the official train set.

    Raises:
        DataError: a file cannot be read, or differs from the official file.
    """
    arrays = {name: _read_idx(folder, name, digest) for name, digest in IDX_FILES.items()}
    images, labels = arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"]
    official_train = ImageSplit(images[..., None], labels.astype(np.int64), np.arange(len(labels)))
    train, val = hold_out(official_train, VAL_PER_CLASS, SPLIT_SEED)
    images, labels = arrays["t10k-images-idx3-ubyte"], arrays["t10k-labels-idx1-ubyte"]
    test = ImageSplit(images[..., None], labels.astype(np.int64), np.arange(len(labels)))
    return {"train": train, "val": val, "test": test}


def _read_idx(folder: Path, name: str, digest: str) -> np.ndarray:
    """The array of one IDX file of unsigned bytes, whose content has the SHA-256 ``digest``."""
    plain, packed = folder / name, folder / f"{name}.gz"
    path = plain if plain.is_file() else packed
    try:
        raw = path.read_bytes() if path == plain else gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path} ({error}); {FULL.how_to_get}") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise DataError(
            f"{path} is not the official file: the SHA-256 of its content is not {digest[:12]}...; {FULL.how_to_get}"
        )
    dimensions = raw[3]
    shape = np.frombuffer(raw, dtype=">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)
