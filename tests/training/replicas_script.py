"""Trains on one and on two replicas; prints the results of every part as JSON.

A process of its own: logical devices must be set before TensorFlow is used. One for
all: each would import TensorFlow again.
"""

import json
import sys

import keras
from helpers.devices import mirrored_on_two_devices
from helpers.garbage import collect_less
from helpers.graphs import optimize_no_graphs
from helpers.replicas import PARTS

collect_less()
mirrored_on_two_devices()
optimize_no_graphs()
results = {}
for name, part in PARTS.items():
    keras.utils.clear_session(free_memory=False)
    results[name] = part.results()
json.dump(results, sys.stdout)
