"""The Oxford-IIIT Pet set (Parkhi, Vedaldi, Zisserman and Jawahar, CVPR 2012): photos of cats and dogs with trimaps.

Two datasets read it: the pet against the background, and its breed against the background. The unclear border is ignored.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.api import IGNORED, IMAGENET_MEAN, IMAGENET_STD, Archive, DataError, DatasetCard, ImageSplit
from datasets.mask_folders import read_list, read_pairs
from datasets.masks import value_table
from datasets.splits import SPLIT_SEED, hold_out

VAL_PER_BREED = 10
FOLDER = "oxford-iiit-pet"  # as torchvision names it
URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
# From torchvision 0.29.
MD5 = {"images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c", "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f"}
PET, BACKGROUND, BORDER = 1, 2, 3  # values of a trimap

BREEDS = (
    "Abyssinian", "American Bulldog", "American Pit Bull Terrier", "Basset Hound", "Beagle", "Bengal", "Birman", "Bombay",
    "Boxer", "British Shorthair", "Chihuahua", "Egyptian Mau", "English Cocker Spaniel", "English Setter",
    "German Shorthaired", "Great Pyrenees", "Havanese", "Japanese Chin", "Keeshond", "Leonberger", "Maine Coon",
    "Miniature Pinscher", "Newfoundland", "Persian", "Pomeranian", "Pug", "Ragdoll", "Russian Blue", "Saint Bernard",
    "Samoyed", "Scottish Terrier", "Shiba Inu", "Siamese", "Sphynx", "Staffordshire Bull Terrier", "Wheaten Terrier",
    "Yorkshire Terrier",
)  # fmt: skip

OXFORD_PETS = DatasetCard(
    name="oxford-pets",
    target="datasets.oxford_pets:read",
    summary="3,310 / 370 / 3,669 photos of cats and dogs with masks: pet and background",
    task="segmentation",
    classes=("background", "pet"),
    image_size=None,
    recipe_size=224,
    channels=3,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    sizes={"train": 3_310, "val": 370, "test": 3_669},
    val_rule=f"{VAL_PER_BREED} a breed of the official trainval set, stratified, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(f"oxford-pets {sorted(MD5.items())} {VAL_PER_BREED} {SPLIT_SEED}".encode()).hexdigest(),
    licence="CC BY-SA 4.0; the photographers own the images",
    redistributable=False,
    citation="Parkhi, Vedaldi, Zisserman and Jawahar (2012): Cats and dogs, CVPR",
    how_to_get="python -m benchmark data fetch oxford-pets --data-dir DIR, or unpack "
    f"{' and '.join(MD5)} of {URL} in DIR/{FOLDER}",
    folders=(FOLDER, ""),
    markers=("annotations/trimaps/",),
    archives=tuple(Archive(url=f"{URL}/{name}", name=name, md5=md5, folder=FOLDER) for name, md5 in MD5.items()),
)
OXFORD_PETS_BREEDS = replace(
    OXFORD_PETS,
    name="oxford-pets-breeds",
    target="datasets.oxford_pets:read_breeds",
    summary="the photos of oxford-pets with the breed of the pet: 37 breeds and background",
    classes=("background", *BREEDS),
    fingerprint=hashlib.sha256(f"breeds {OXFORD_PETS.fingerprint}".encode()).hexdigest(),
)


def read(folder: Path, val_per_breed: int = VAL_PER_BREED) -> dict[str, ImageSplit]:
    """The splits from ``images/``, ``annotations/trimaps/`` and the two lists in ``annotations/``; labels are breeds.

    Raises:
        DataError: a folder, list, image or mask is missing or invalid; the message names it.
    """
    pet = value_table({PET: 1, BACKGROUND: 0, BORDER: IGNORED})
    return _read(folder, np.repeat(pet[None], len(BREEDS), 0), val_per_breed)


def read_breeds(folder: Path, val_per_breed: int = VAL_PER_BREED) -> dict[str, ImageSplit]:
    """As `read`, with the class of the breed, its index plus 1, at the pixels of the pet."""
    breeds = [value_table({PET: breed + 1, BACKGROUND: 0, BORDER: IGNORED}) for breed in range(len(BREEDS))]
    return _read(folder, np.stack(breeds), val_per_breed)


def _read(folder: Path, tables: np.ndarray, val_per_breed: int) -> dict[str, ImageSplit]:
    train, val = hold_out(_read_part(folder, "trainval", tables), val_per_breed, SPLIT_SEED)
    return {"train": train, "val": val, "test": _read_part(folder, "test", tables)}


def _read_part(folder: Path, part: str, tables: np.ndarray) -> ImageSplit:
    """The images of one official list; the sample id is the line index, from 0."""
    path = folder / "annotations" / f"{part}.txt"
    rows = read_list(path, 4, OXFORD_PETS.how_to_get)
    for number, row in enumerate(rows, start=1):
        if not row[1].isdecimal() or not 1 <= int(row[1]) <= len(BREEDS):
            raise DataError(f"{path}, line {number}: {row[1]!r:.80} is not the number of a breed, 1 to {len(BREEDS)}")
    breeds = np.array([int(row[1]) - 1 for row in rows], dtype=np.int64)
    trimaps = folder / "annotations" / "trimaps"
    images, masks = read_pairs(folder / "images", trimaps, [row[0] for row in rows], tables, breeds)
    return ImageSplit(images, breeds, np.arange(len(rows)), masks)
