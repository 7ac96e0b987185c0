"""A rank that is not the first: takes part in what the first one trains and scores, and writes nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmark.checkout import put_checkout_first
from benchmark.errors import RankError
from benchmark.execute.distributed import Team, World, meeting
from benchmark.execute.maker import StageMaker
from benchmark.pipeline.fit import Interrupted, Learner, TrainingDivergedError, fit
from benchmark.pipeline.inputs import Inputs
from benchmark.pipeline.score import SCORED, answer_split
from benchmark.pipeline.stages import Stage
from benchmark.progress import Reporter
