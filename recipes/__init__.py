"""The command line of keras-diffkd: one module per command, one idea per file.

`diffkd-train-teacher`, `diffkd-distill`, `diffkd-evaluate`, `diffkd-export` and
`diffkd-verify` are absl applications over the library. A whole experiment is one
file of flags in `recipes/experiments/`:

```
diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits
diffkd-distill --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits
```

Nothing in the library imports from here.
"""
