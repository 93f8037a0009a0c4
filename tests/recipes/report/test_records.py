import json

import pytest
from helpers.run_records import page_of, text_of

from keras_diffkd.recipes.report.write import write_report
from keras_diffkd.recipes.run import experiment
from keras_diffkd.recipes.run.directory import RunDirectory


@pytest.mark.usefixtures("without_curves")
def test_seeds_that_do_not_compare_do_not_count(write_run):
    run = write_run(seeds=[(0.96, 0.92), (0.96, 0.92), (0.96, 0.92), (0.97, 0.93)])
    for seed, name, value in ((1, "seed", "0"), (2, "learning_rate", "9.0")):
        folder = run.root / "seeds" / str(seed)
        experiment.write_flags(
            folder, {**experiment.recorded(), "seed": str(seed), name: value}
        )
    path = run.root / "seeds" / "3" / "baseline" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    text = text_of(page_of(run))
    assert "Means over 2 seeds" in text
    assert "seeds/1 does not count: seed 0 occurs twice" in text
    assert "seeds/2 does not count: it was trained with other settings" in text
    assert "seeds/3 does not count: its training is not finished" in text


@pytest.mark.usefixtures("without_curves")
def test_seeds_of_other_teacher_caches_do_not_count(write_run):
    run = write_run(seeds=[(0.96, 0.92)] * 4)

    def record(folder, **contents):
        cache = {
            "teacher": {"weights (SHA-256)": "5e" * 32},
            "data": {"views": 2},
            "contents": {
                "classes": 10,
                "dtype": "float16",
                "top_k": None,
                "features": [],
                "pooled": [],
                **contents,
            },
        }
        (folder / "teacher_cache.json").write_text(json.dumps(cache))

    seeds = run.root / "seeds"
    record(seeds / "3")
    assert "seeds/3 does not count: it learned from a teacher cache, the first " in (
        text_of(page_of(run))
    )
    for folder, dtype in ((run.root, "float16"), (seeds / "1", "float32")):
        record(folder, dtype=dtype)
    record(seeds / "4", top_k=3)
    text = text_of(page_of(run))
    assert "Means over 2 seeds" in text
    assert "seeds/1 does not count: it learned from another teacher cache: " in text
    assert "contents.dtype was float16, now float32" in text
    assert "seeds/2 does not count: it learned from the teacher itself" in text
    assert "seeds/3 does not" not in text
    assert "contents.top_k was None, now 3" in text


def test_a_folder_that_is_no_run(parse, tmp_path):
    with pytest.raises(FileNotFoundError, match="run diffkd-distill"):
        write_report(RunDirectory(tmp_path))
    assert not list(tmp_path.iterdir())
