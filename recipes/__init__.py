"""Runs the command line of keras-diffkd: a module per command, an idea per file.

`diffkd-train-teacher`, `diffkd-cache-teacher`, `diffkd-distill`, `diffkd-evaluate`,
`diffkd-export` and `diffkd-verify` are absl applications on top of the library. One
file of flags in `recipes/experiments/` describes a whole experiment:

```
diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits
diffkd-distill --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits
```

Nothing in the library imports from here.
"""
