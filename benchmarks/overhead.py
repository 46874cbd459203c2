"""What a trial costs beside its evaluation: milliseconds to propose and to store it when a study holds many.

    python benchmarks/overhead.py --json overhead.json
    python benchmarks/overhead.py --quick --postgresql postgresql+psycopg://USER@HOST/DATABASE

For PostgreSQL a database that may be written to is needed, and the driver: `pip install '.[postgresql]'`. Everything is
measured in turn in one run, over random networks of the band around 400M multiply-adds in the space mnasnet.
Proposing: `nas search` with its own sampler and with Optuna's behind the cost filter, and Optuna's `ask` without it.
Storing: a finished trial as `nas search` stores it, in a single transaction, and the same by Optuna's own calls.
All in: whole searches by a made-up function. Absolute times hold for an idle machine only.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
import sqlalchemy
from attrs import field, frozen
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from overhead_report import print_report

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.device.machine import this_machine
from nas.device.words import CPU
from nas.evaluate.function import FunctionEvaluator
from nas.search.band import Band, Picks
from nas.search.loop import Event, search
from nas.search.plan import check
from nas.search.proposers import make_proposer
from nas.search.rows import BulkStorage
from nas.search.samplers import POPULATION
from nas.search.settings import Settings
from nas.search.storage import open_storage, versions_now
from nas.search.wishes import distributions
from nas.space.decode import SearchSpace, Value
from nas.space.files import find_space
from nas.space.inverse import Inverse
