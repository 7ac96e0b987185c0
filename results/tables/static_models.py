"""Published results of static models, beside runs on the data that they were published for."""

from __future__ import annotations

import pandas as pd

from results.judge.literature import read_static_models
from results.tables.run import Run

DATASET = "imagenet-1k"
MARK = "published, not measured here"


def static_models(runs: list[Run]) -> pd.DataFrame | None:
    """One row per published model; None unless a run has ImageNet-1k and one of these backbones, all of which take 224 x 224.

    Columns: model, backbone, top1 (%), gmacs, cpu_ms, gpu_images_per_second (NaN where not published), smaller (a model of the
    same table, or empty), status (`MARK`), conditions and source.
    """
    published = read_static_models()
    backbones = {model.backbone for model in published.models}
    if not any(run.record.spec.train.dataset.name == DATASET and run.backbone in backbones for run in runs):
        return None
    rows = [
        model.model_dump(exclude={"smaller"}) | {"backbone": model.backbone, "smaller": model.smaller or ""}
        for model in published.models
    ]
    columns = ["model", "backbone", "top1", "gmacs", "cpu_ms", "gpu_images_per_second", "smaller"]
    table = pd.DataFrame(rows)[columns].astype(dict.fromkeys(columns[2:6], float))
    return table.assign(status=MARK, conditions=published.conditions, source=published.source)
