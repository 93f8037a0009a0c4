"""Arbitrary values that a user could pass for an argument or write behind a flag."""

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

# The same examples in every run: what is found stays found, and nothing else fails.
FEW = settings(max_examples=30, deadline=None, derandomize=True, database=None)

numbers = st.one_of(
    st.integers(-(10**12), 10**12),
    st.integers(-3, 12),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 0.0, -0.5, 1e308, math.nan, math.inf, -math.inf, 2**31]),
    st.sampled_from([np.float32(0.5), np.int64(3), np.float64("nan"), np.int32(-1)]),
)
anything = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(0, 3), st.text(max_size=3)), max_size=3),
    st.just({}),
    st.just(object()),
    st.just(np.zeros(2)),
)
# What a shell can pass.
written = st.one_of(
    st.text(st.characters(blacklist_characters="\0"), max_size=12),
    numbers.map(str),
    st.text("~/.-=,x0é", max_size=6),
    st.sampled_from(["", "true", "none", "kd,fitnet", "1,2,3", "224x112", "~", "/"]),
)
