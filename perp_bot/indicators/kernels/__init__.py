"""The arithmetic of every indicator, in plain Python that numba can compile.

Each kernel fills columns it is given and allocates nothing, so that one code serves a whole series (batch), one candle
(streaming, `state` carries over) and one window (decisions). Nothing here imports numba or numpy: `compiled` runs these
very functions, interpreted or compiled, with identical bits. For that no operation may be regrouped or fused, division
by zero is always guarded (Python raises where compiled code would not), and slices are read from index 0 (compiled
code then needs no wrap-around test, which is what lets it use vector instructions).

A number that is not finite counts as missing. Kernels with a window give NaN while the window holds one; kernels with a
memory give NaN and start anew after it, seed included, as if the series began there.
"""
