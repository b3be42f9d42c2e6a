"""What the page of a materialization shows: a headline, the figures a person compares, and pictures.

Each function takes what a domain call returned and gives ``(headline, metadata)``. Pictures are drawn by
``robot_assets.figures``; here they only become markdown.
"""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from robot_assets.core.verdict import Verdict

Page = tuple[str, dict[str, Any]]


def report(*parts: str) -> dg.MetadataValue:
    """All that is to be looked at as one entry, since the UI opens each markdown entry in a dialog of its own."""
    return dg.MetadataValue.md("\n\n".join(parts))


def picture(png: bytes, caption: str) -> str:
    """A PNG in markdown; a data URI needs no server."""
    return f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})"


def table(rows: Mapping[str, Mapping[str, Any]], first: str) -> str:
    """Rows by name -> a markdown table; all rows have the same keys."""
    columns = list(next(iter(rows.values()), {}))
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(_cell(row[key]) for key in columns) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def verdict(answer: Verdict) -> dict[str, Any]:
    """Facts of a gate; its figures once more by themselves, since Dagster plots those from one evaluation to the next.

    No pictures: staleness reads the evaluations of all gates at once.
    """
    facts = {key: value for key, value in answer.facts.items() if key != "latencies_ms"}
    figures = {key: value for key, value in facts.items() if _is_figure(value)}
    shown: dict[str, Any] = {"fix": answer.fix} if answer.fix and not answer.passed else {}
    return {**shown, **figures, "facts": dg.MetadataValue.json(facts)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def simulated(summary: Any, artifact: Path) -> Page:
    from robot_assets.figures.detections import labelled_sheet

    objects = sum(summary.objects.values())
    counts = {name: {"objects": count, "images": summary.images_with[name]} for name, count in summary.objects.items()}
    return f"{summary.images} images, {objects} objects, {summary.images_per_second:.0f} images/s", {
        "report": report(
            picture(labelled_sheet(*_some_labelled(artifact, 6)), "Some images with their labels"),
            table(counts, "class"),
        ),
        "images": summary.images,
        "sessions": len(summary.sessions),
        "objects": objects,
        "images_per_s": round(summary.images_per_second, 1),
    }


def _some_labelled(raw: Path, count: int) -> tuple[list[Any], list[Any], list[Any], tuple[str, ...]]:
    """Images spread over a raw data set, their boxes (n, 4) xyxy, their class indices, and the classes."""
    import numpy as np
    from PIL import Image

    document = json.loads((raw / "annotations.json").read_text())
    images, boxes, labels = [], [], []
    for entry in document["images"][:: max(1, len(document["images"]) // count)][:count]:
        found = [one for one in document["annotations"] if one["image_id"] == entry["id"]]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in found)]
        with Image.open(raw / "images" / entry["file_name"]) as image:
            images.append(np.asarray(image.convert("RGB")))
        boxes.append(np.array(corners, float).reshape(-1, 4))
        labels.append(np.array([one["category_id"] - 1 for one in found], int))
    return images, boxes, labels, tuple(category["name"] for category in document["categories"])


def dataset(summary: Any, artifact: Path) -> Page:
    from robot_assets.figures.balance import class_balance, session_split

    document = json.loads((artifact / "dataset.json").read_text())
    headline = ", ".join(f"{summary.images[split]} {split}" for split in summary.images)
    return headline, {
        "report": report(
            picture(class_balance(summary.boxes), "Boxes of each class"),
            picture(session_split(_images_by_session(artifact, summary)), "Recording sessions of each split"),
        ),
        "images": sum(summary.images.values()),
        "calibration_images": summary.calibration_images,
        "linked_sessions": dg.MetadataValue.json([list(group) for group in summary.linked_sessions]),
        "classes": ", ".join(document["classes"]),
    }


def _images_by_session(artifact: Path, summary: Any) -> dict[str, dict[str, int]]:
    """Split -> session -> images."""
    from collections import Counter

    from robot_assets.data.packed import open_split

    return {split: dict(Counter(open_split(artifact, split).sessions)) for split in summary.images}


def checkpoint(summary: Any, artifact: Path, data: Path) -> Page:
    from robot_assets.figures.curves import training_curves

    history = json.loads((artifact / "history.json").read_text())["epochs"]
    val, test = summary.val, summary.test
    per_class = {
        name: {"val AP50": val.per_class_ap50[name], "test AP50": test.per_class_ap50[name]}
        for name in test.per_class_ap50
    }
    headline = f"mAP@50 {test.map50:.3f} on test, {val.map50:.3f} on val"
    return headline, {
        "report": report(
            picture(training_curves(history, best_epoch=summary.best_epoch), "Loss and mAP"),
            table(per_class, "class"),
            picture(_predictions(artifact, data), "Predictions on unseen images"),
        ),
        "map50_test": test.map50,
        "map50_val": val.map50,
        "map50_95_test": test.map50_95,
        "best_epoch": summary.best_epoch,
        "parameters": summary.parameters,
        "images_per_s": round(summary.images_per_s, 1),
        "resumed_from_epoch": summary.resumed_from_epoch,
    }


def _predictions(trained: Path, data: Path, count: int = 6, score_min: float = 0.3) -> bytes:
    """Images spread over the test split, with what is there and what the checkpoint saw."""
    import torch

    from robot_assets.data.packed import open_split
    from robot_assets.figures.detections import Sample, prediction_sheet
    from robot_assets.models.checkpoint import load_network
    from robot_assets.models.decode import decode
    from robot_assets.runtime.preprocess import letterbox, to_input

    network, config = load_network(trained)
    split = open_split(data, "test")
    samples = []
    for index in range(0, len(split), max(1, len(split) // count))[:count]:
        image = split.image(index)
        boxed = letterbox(image, config.network.input_height, config.network.input_width)
        with torch.inference_mode():
            heads = [head.numpy() for head in network(torch.from_numpy(to_input([boxed.image])))]
        seen = decode(heads, config.network, score_min=score_min)[0].in_image(boxed)
        truth = (split.boxes(index), split.labels(index))
        samples.append(Sample(image, *truth, seen.boxes, seen.labels, seen.scores))
    return prediction_sheet(samples, config.classes)


def ptq(summary: Any) -> Page:
    headline = f"{summary.calibrator}: {-summary.drop_points:+.2f} points against FP32 on val"
    return headline, {
        "report": _variants(
            {"FP32 checkpoint": summary.checkpoint_map50}
            | {f"PTQ {name}": value for name, value in summary.map50_by_calibrator.items()},
            f"PTQ {summary.calibrator}",
        ),
        "calibrator": summary.calibrator,
        "map50_val": summary.map50,
        "drop_points": summary.drop_points,
        "quantized_activations": summary.tensors,
    }


def qat(summary: Any) -> Page:
    against_control = 100 * (summary.qat_map50 - summary.fp32_control_map50)
    headline = (
        f"{100 * (summary.qat_map50 - summary.start_map50):+.2f} points against the best PTQ, "
        f"{against_control:+.2f} against the FP32 control on val"
    )
    return headline, {
        "report": _variants(
            {
                "FP32 checkpoint": summary.checkpoint_map50,
                "FP32 control": summary.fp32_control_map50,
                f"PTQ {summary.calibrator}": summary.start_map50,
                "QAT": summary.qat_map50,
            },
            None,
        ),
        "map50_val": summary.qat_map50,
        "fp32_control_map50_val": summary.fp32_control_map50,
        "best_epoch": summary.best_epoch,
        "epochs": summary.epochs,
    }


def onnx(summary: Any) -> Page:
    names = {"checkpoint": "FP32 checkpoint", "fp32_control": "FP32 control", "ptq": "PTQ", "qat": "QAT"}
    values = {shown: summary.choice.map50[key] for key, shown in names.items()}
    return summary.choice.because, {
        "report": _variants(values, names[summary.choice.method]),
        "promoted": summary.choice.method,
        "because": summary.choice.because,
        "qat_gain_points": summary.choice.qat_gain_points,
        "model_md5": summary.model_md5,
        "model_size_bytes": summary.model_size_bytes,
        "nodes": dg.MetadataValue.json(summary.nodes),
        "values_that_differ_from_torch": summary.differing_share,
    }


def sensitivity(found: Any, artifact: Path, exported: Path) -> Page:
    """What the layers lose, beside what leaving them in float costs on this machine."""
    from robot_assets.figures.sensitivity import layer_losses
    from robot_assets.sensitivity.latency import measure_variants
    from robot_assets.sensitivity.summary import headline

    best = found.chosen.best
    timed = measure_variants(exported, best.layers)
    losses = {one.layer.name: one.drop_points for one in found.layers}
    errors = {one.layer.name: one.output_error for one in found.layers}
    drawn = layer_losses(
        losses,
        errors=errors,
        in_float=best.layers,
        latency_added={name: timed.added(name) for name in losses},
        images=found.images,
    )
    return headline(found, timed.added_by_chosen), {
        "report": report(picture(drawn, "What each layer loses")),
        "float_layers": ", ".join(best.layers) or "none",
        "holds_the_gate": found.chosen.holds,
        "drop_points": best.drop_points,
        "int8_drop_points": found.int8_drop_points,
        "drop_points_max": found.bound,
        "tried": len(found.chosen.trials),
        "latency_added": round(timed.added_by_chosen, 4),
        "latencies_ms_min": dg.MetadataValue.json(timed.as_json()),
        "layers": dg.MetadataValue.json(json.loads((artifact / "sensitivity.json").read_text())["layers"]),
    }


def engine(summary: Any, artifact: Path, exported: Path, scratch: Path) -> Page:
    """An engine timed on this device: for ONNX Runtime beside the float twin of its graph, for TensorRT alone."""
    manifest = summary.manifest
    headline, timed = (
        _timed_alone(artifact, summary)
        if manifest.kind == "tensorrt"
        else _timed_beside_float(artifact, exported / "model.onnx", scratch / "float.onnx")
    )
    kernels = manifest.kernels
    return headline, {
        **timed,
        "int8_convolutions": kernels.int8_convolutions,
        "float_convolutions": kernels.float_convolutions,
        "kernels": dg.MetadataValue.json(kernels.model_dump(mode="json")),
        "platform_fingerprint": manifest.platform_fingerprint,
        "engine_md5": summary.engine_md5,
        "engine_size_bytes": manifest.engine_size_bytes,
    }


def _timed_beside_float(artifact: Path, onnx: Path, twin: Path) -> Page:
    """The engine against the float twin of its own graph, on the same threads."""
    from robot_assets.engines.benchmark import compare
    from robot_assets.export.strip_qdq import write_float_twin
    from robot_assets.figures.latency import latency_histogram

    write_float_twin(onnx, twin)
    timed = compare(artifact, twin)
    runs = {"FP32": timed.float32.milliseconds, "INT8": timed.engine.milliseconds}
    condition = f"{timed.threads} thread{'s' if timed.threads > 1 else ''}, one image a call"
    return f"{timed.engine.p50:.1f} ms, {timed.speedup:.1f}x FP32", {
        "report": report(picture(latency_histogram(runs, None, condition=condition), "Latency of one frame")),
        **_latencies(timed.engine),
        "fp32_latency_ms_p50": timed.float32.p50,
        "speedup_over_fp32": timed.speedup,
    }


def _timed_alone(artifact: Path, summary: Any) -> Page:
    """A TensorRT engine, and what its layers run in."""
    from robot_assets.engines.benchmark import measure
    from robot_assets.figures.latency import latency_histogram

    manifest = summary.manifest
    timed = measure(artifact)
    condition = f"TensorRT {manifest.tensorrt} on {manifest.gpu.name}, one image a call"
    groups = {name: sum(counts.values()) for name, counts in manifest.kernels.model_dump().items()}
    layers = {name.replace("_", " "): {"layers": count} for name, count in groups.items() if count}
    return f"{timed.p50:.1f} ms, {groups['int8']} of {sum(groups.values())} layers in int8", {
        "report": report(
            picture(latency_histogram({"INT8": timed.milliseconds}, None, condition=condition), "Latency of one frame"),
            table(layers, "arithmetic"),
            "\n".join(f"- {note}" for note in summary.notes),
        ),
        **_latencies(timed),
        "tensorrt": manifest.tensorrt,
        "typing": manifest.typing,
        "device_memory_bytes": manifest.device_memory_bytes,
        "timing_cache_md5": manifest.timing_cache_md5 or "none",
    }


def _latencies(timed: Any) -> dict[str, float]:
    return {"latency_ms_p50": timed.p50, "latency_ms_p95": timed.p95, "latency_ms_p99": timed.p99}


def profile(found: Any, spec: Any) -> Page:
    """All engines together: when each one worked, and what that cost it."""
    from robot_assets.profiling.figure import draw
    from robot_assets.profiling.fit import headline
    from robot_assets.profiling.table import rows

    measured = found.profile
    return headline(measured, spec.fit), {
        "report": report(
            picture(draw(found, spec.fit), "Engines together, and their latencies"), table(rows(measured), "engine")
        ),
        "frames": measured.frames,
        "deadlines_missed": measured.missed,
        "busiest_core_percent": measured.machine.busiest_core_percent,
        "engines_cores": measured.machine.own_cores,
        "other_cores": measured.machine.other_cores,
        "stolen_ms": measured.machine.stolen_ms,
        "memory_mib": measured.memory_mib,
        "runtime_mib": measured.machine.runtime_mib,
        **{key: value for key, value in _strain(measured.machine).items() if value is not None},
        "slowdown": dg.MetadataValue.json({one.name: round(one.slowdown, 3) for one in measured.streams}),
        "platform_fingerprint": measured.platform_fingerprint,
    }


def _strain(machine: Any) -> dict[str, float | None]:
    return {key: getattr(machine, key) for key in ("power_w_mean", "power_w_max", "temperature_c_max")}


def _variants(values: Mapping[str, float], chosen: str | None) -> dg.MetadataValue:
    from robot_assets.figures.comparison import variant_comparison

    return report(picture(variant_comparison(values, chosen), "mAP@50 on val, side by side"))


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
