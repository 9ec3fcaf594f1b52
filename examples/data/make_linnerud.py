#!/usr/bin/env python3
"""Writes linnerud.csv next to itself from scikit-learn's copy of Linnerud's data. See README.md."""

import pathlib

import numpy
from sklearn.datasets import load_linnerud

linnerud = load_linnerud()
header = ",".join(name.lower() for name in linnerud.feature_names + linnerud.target_names)
table = numpy.column_stack([linnerud.data, linnerud.target]).astype(int)
path = pathlib.Path(__file__).resolve().with_name("linnerud.csv")
with open(path, "w", newline="\n") as file:
    numpy.savetxt(file, table, fmt="%d", delimiter=",", header=header, comments="")
