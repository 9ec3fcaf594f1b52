#!/usr/bin/env python3
"""Writes digits.csv next to itself from scikit-learn's copy of the UCI test set. See README.md."""

import pathlib

import numpy
from sklearn.datasets import load_digits

digits = load_digits()
header = ",".join([f"pixel_{row}_{column}" for row in range(8) for column in range(8)] + ["digit"])
table = numpy.column_stack([digits.data, digits.target]).astype(int)
path = pathlib.Path(__file__).resolve().with_name("digits.csv")
with open(path, "w", newline="\n") as file:
    numpy.savetxt(file, table, fmt="%d", delimiter=",", header=header, comments="")
