"""The grid file that ``new-grid`` writes: it can be run as it is, and explains each key."""

from __future__ import annotations

TEMPLATE = """\
# A grid: every backbone x dataset x method x exits x seed is one run. docs/grids.md explains all keys.
# 'python -m benchmark list' shows the names; 'python -m benchmark list --schema' prints a JSON schema for editors.
name: {name}

# A name, or {{name: vit_small_patch16_224, set: {{weights: scratch}}}}; weights: scratch, timm:TAG, bundled:NAME or file:PATH.
backbones: [vit_nano_patch4_28]

# A name, folder:PATH with one folder of images per class, or {{name: fashion-mnist-mini, set: {{train: 2000}}}}.
datasets: [fashion-mnist-mini]

# static is the backbone without exits, vanilla has linear heads. Options: {{name: lgvit, set: {{feature_terms: false}}}}.
methods: [static, lgvit, vanilla]

# ---- All keys from here on are optional. ----

# A scheme (paper, shallow, middle, deep, uniform, published), {{name: uniform, set: {{count: 4}}}}, or blocks: [3, 6, 9].
exits: [paper]

# Each seed is a run of its own. Verdicts on the paper's claims need five.
seeds: [0]

# Keys that are left out keep their default.
recipes:
  # Stage 1: the backbone.
  finetune: {{epochs: 15, batch_size: 100, optimizer: muon, lr: 1.0e-2, warmup: 0.1}}
  # Stage 2: the heads on the frozen backbone. These of `quick` converge; larger backbones need a smaller lr.
  exits: {{epochs: 10, batch_size: 100, optimizer: muon, lr: 1.0e-2, weight_decay: 0, augment: none}}
  # joint: {{epochs: 30}}                       # methods that train backbone and heads together, such as branchynet

# Exit rules that are evaluated on the stored scores, without any training; own is the rule of each method's paper.
policies: [confidence]

# Batch sizes at which the finished runs are timed.
# latency: [1, 32]

# Compares the heads with linear probes: have they converged?
# probes: true

# Factors of the learning rate of the stages that train exits; for each method, the best on val counts.
# learning_rates: [0.5, 1.0, 2.0]

# The comparison to decide by, declared before training; reports call all others exploratory.
# primary: {{method: lgvit, against: [vanilla], macs: 0.5}}

# Other recipes for a part of the grid.
# overrides:
#   - {{method: vanilla, recipes: {{exits: {{lr: 1.0e-3}}}}}}

# Combinations to add or to leave out, with the axes backbone, dataset, method, exits and seed.
# include:
#   - {{method: lgvit, exits: [3, 6, 9]}}
# exclude:
#   - {{method: vanilla, seed: 1}}
"""


def template(name: str) -> str:
    """The text of a new grid file.

    Args:
        name: of the grid, as `benchmark.grid.grid_file.file_name` permits it.
    """
    return TEMPLATE.format(name=name)
