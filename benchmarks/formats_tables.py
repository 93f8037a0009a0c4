"""The tables of `formats.py`."""

import numpy as np
from report import markdown_table

from keras_diffkd.export.formats import FORMATS

FUNCTION, PREDICT = "`tf.function`", "`keras predict`"


def table(report, times):
    """Lays out one student."""
    (metric,) = report["metrics"]
    base, whole = report["keras"][metric], report["artifacts"]["tflite"]["size"]
    rows = []
    for name in times:
        found = report["artifacts"].get(name)
        ratios = np.divide(times[name], times[PREDICT])
        row = [name]
        if found:
            row += [
                f"{found['size'] / 1000:,.1f}",
                f"{found['size'] / whole:.2f}",
                f"{found['max_difference']:.1e}",
                f"{found['agreement']:.2%}",
                f"{found[metric]:.2%}",
                _points(found[metric] - base),
            ]
        else:
            row += ["", "", "", "", f"{base:.2%}", ""]
        row.append(f"{np.mean(times[name]):.3f} ± {np.std(times[name], ddof=1):.3f}")
        row.append(f"1/{1 / np.median(ratios):,.0f}" if name != PREDICT else "1")
        rows.append(row)
    header = ["", "kB", "of TFLite float32", "largest difference", "agreement"]
    header += [metric, "points", "ms", "of `predict`"]
    return markdown_table(header, rows)


def targets(results):
    """Returns a table of what was aimed at, and what came of it."""
    rows = []
    for case, report, times in results.values():
        found = report["artifacts"]
        (metric,) = report["metrics"]
        gained = found["tflite_int8"][metric] - report["keras"][metric]
        size = found["tflite_int8"]["size"] / found["tflite"]["size"]
        best = min((n for n in times if n in FORMATS), key=lambda n: np.mean(times[n]))
        ratio = np.median(np.divide(times[PREDICT], times[best]))
        rows.append(
            [
                case.title,
                _judged(f"{size:.2f}", size <= 0.3),
                _judged(_points(gained), gained >= -0.005 - 1e-9),
                _judged(
                    f"{found['onnx']['max_difference']:.0e}",
                    found["onnx"]["max_difference"] <= 1e-4,
                ),
                _judged(f"1/{ratio:,.0f} ({best})", ratio >= 20),
            ]
        )
    header = [
        "student",
        "int8 TFLite: size, at most 0.3",
        "points, at most 0.5 lost",
        "ONNX within 1e-4",
        "fastest file, at most 1/20 of `predict`",
    ]
    return markdown_table(header, rows)


def _points(share):
    return f"{round(100 * share, 2) + 0.0:+.2f}"  # Not -0.00.


def _judged(text, reached):
    return text if reached else f"**{text}: missed**"


def notes(results):
    """Returns the warnings of the verifications."""
    lines = []
    for case, report, _ in results.values():
        found = [w for w in report["warnings"] if "slower" not in w]
        for result in report["artifacts"].values():
            told = [w for w in result["warnings"] if "delegate" in w]
            found += [f"{result['file']}: {w}" for w in told]
        lines += [f"- {case.title}: {text}" for text in found]
    return "\n".join(lines)


def explanations(results):
    """Says why int8 files are larger than a quarter of the float32 ones."""
    lines = ["`diffkd-export` refuses a loss of more than 0.5 points."]
    if "digits_student" in results:
        report = results["digits_student"][1]
        size = {name: found["size"] for name, found in report["artifacts"].items()}
        weights = 4 * report["keras"]["parameters"]
        lines.append(
            f"Of the {size['tflite']:,} bytes of the digits student's float32 file, "
            f"{weights:,} are weights; the rest does not shrink, and int8 adds scales "
            f"and zero points ({size['tflite_int8']:,} bytes in all)."
        )
    if "mobilenet_v2" in results:
        # Counted in the file; the same after any training.
        lines.append(
            "MobileNetV2 has 17,066 channels, each with scales, zero points and a "
            "32-bit bias: 478 kB beside 2,203 kB of int8 weights."
        )
    return "\n".join(lines)
