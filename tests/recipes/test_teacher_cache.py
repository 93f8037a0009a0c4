import json
import shutil

import numpy as np
import pytest
from helpers.digit_networks import network, read_weights

from keras_diffkd.recipes import cache_teacher, cluster, evaluate, teacher_cache
from keras_diffkd.recipes.report.write import write_report
from keras_diffkd.recipes.run.cache_record import describe_cache
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.teacher_cache import TeacherCache

FEW = ("--train_split=train[:320]", "--steps_per_epoch=5", "--epochs=3")


@pytest.fixture
def cached(distil, tmp_path):
    """Distills in 3 epochs of 2 views from a cache in the temporary folder."""

    def cached(*arguments, run="cached"):
        return distil(
            *FEW,
            f"--teacher_cache={tmp_path / 'cache'}",
            "--cache_views=2",
            *arguments,
            run=run,
        )

    return cached


def weights(run):
    return read_weights(run / "student.keras")


def assert_same(first, second):
    for ours, theirs in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_is_the_training_with_the_teacher_itself(
    cached, distil, parse, tmp_path, capsys, monkeypatch
):
    """Bit for bit, also with another seed, and after an interruption."""
    extra = ("--method=kd,fitnet", "--cache_dtype=float32", "--seed=1", "--seeds=2")

    def train():
        return cached(*extra, "--save_every=2")

    interrupted(train, monkeypatch, after=14)
    printed = capsys.readouterr().out
    assert "320 images x 2 views x 556 bytes" in printed
    assert "16 views: 0.00% have another top class; logits: error" in printed
    before = (tmp_path / "cache" / "manifest.json").stat().st_mtime_ns
    run = train()
    printed = capsys.readouterr().out
    assert "built in" not in printed
    assert "Resuming" in printed
    assert (tmp_path / "cache" / "manifest.json").stat().st_mtime_ns == before
    live = distil(*FEW, "--cache_views=2", extra[0], "--seed=1", run="live")
    assert_same(run, live)
    assert (weights(run)[0] != weights(run / "seeds" / "2")[0]).any()
    recorded = (run / "flags.txt").read_text()
    assert "--cache_views=2" in recorded
    assert "--cache_seed=0" in recorded
    refuses_seeds_of_another_cache(run, parse, capsys)
    # The records tell it when the cache is gone.
    shutil.rmtree(tmp_path / "cache")
    page = write_report(RunDirectory(run)).read_text()
    assert "stored, 2 views of each image, float32: all 10 logits, features" in page
    assert describe_cache(live) is None


def refuses_seeds_of_another_cache(run, parse, capsys):
    record = run / "seeds" / "2" / "teacher_cache.json"
    content = record.read_text()
    parse(f"--run_dir={run}", "--seeds=2")
    evaluate.main([])
    assert "distilled student" in capsys.readouterr().out
    for other, message in (
        (content.replace("float32", "float16"), "dtype was float32, now float16"),
        (None, "from the teacher itself, the first run from a teacher cache"),
    ):
        record.unlink()
        if other is not None:
            record.write_text(other)
        with pytest.raises(ValueError, match=message):
            evaluate.main([])
    record.write_text(content)


def interrupted(train, monkeypatch, after):
    """Trains, and is interrupted when it reads the stored outputs of a later batch."""
    read, reads = TeacherCache.read, []

    def interrupt(self, *arguments):
        reads.append(arguments)
        if len(reads) > after:
            raise KeyboardInterrupt
        return read(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TeacherCache, "read", interrupt)
        with pytest.raises(BaseException, match="KeyboardInterrupt"):
            train()


def test_the_command_of_its_own(distil, parse, tmp_path, data_dir, capsys):
    def build(*arguments):
        parse(
            f"--run_dir={tmp_path / 'run'}",
            f"--data_dir={data_dir}",
            "--dataset=digits",
            f"--teacher={tmp_path / 'teacher.keras'}",
            f"--teacher_cache={tmp_path / 'cache'}",
            "--train_split=train[:320]",
            "--method=kd",
            *arguments,
        )
        cache_teacher.main([])
        return capsys.readouterr().out

    printed = build("--cache_taps=features", "--cache_pooled=logits")
    assert "1,280 views, logits and ['features', 'logits']" in printed
    assert "built in" in printed
    assert not (tmp_path / "run").exists()
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    assert manifest["data"]["views"] == 4
    printed = build("--verify_cache=100", "--method=fitnet")
    assert "built in" not in printed
    assert "100 views" in printed
    with pytest.raises(ValueError, match="cache_dtype=float16. Received: --cache_dtyp"):
        build("--cache_dtype=float32")
    with pytest.raises(ValueError, match="does not hold the taps"):
        build("--method=fitnet", "--teacher_tap=batch_normalization")
    with pytest.raises(ValueError, match="data views: 4 in the cache, now 3"):
        build("--cache_views=3")
    with pytest.raises(ValueError, match="view_seed: 0 in the cache, now 1"):
        build("--cache_seed=1")
    network(8).save(tmp_path / "teacher.keras")
    with pytest.raises(ValueError, match="teacher weights"):
        build()


def test_several_workers_need_a_cache_that_is_built(cached, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "shard", lambda: (1, 2))
    with pytest.raises(ValueError, match="Run diffkd-cache-teacher with the same"):
        cached()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--picture_every=1"], "--picture_every runs the teacher on test images"),
        (["--task=detection", "--method=fitnet"], "whose methods read whole"),
        (["--examples_per_class=5", "--seeds=2"], "draws other images for each seed"),
        (["--cache_max_bytes=1000"], "more than the limit of 1,000 bytes"),
        (["--cache_top_k=10"], "`top_k` must be an integer in 1 to 9"),
        (["--cache_pooled=features", "--method=dskd"], "needs the whole feature"),
        (["--cache_pooled=features", "--method=fitnet"], "1x1 against 4x4"),
        (["--cache_taps=featurez"], "featurez"),
        (["--student=resnet21"], "resnet20"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_refuses_and_writes_nothing(cached, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        cached(*arguments)
    assert not (tmp_path / "cached").exists()
    assert not (tmp_path / "cache").exists()


def test_progress(capsys):
    seconds = iter([0.0, 9.0, 20.0, 25.0, 40.0])
    progress = teacher_cache.Progress("cache", clock=lambda: next(seconds))
    for done in (64, 128, 564, 600, 2064):
        progress(done, 3064)
    assert capsys.readouterr().out.splitlines() == [
        "teacher cache cache: 564 of 3,064 views, 100 s left",
        "teacher cache cache: 2,064 of 3,064 views, 20 s left",
    ]
