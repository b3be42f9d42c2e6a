"""The timeline has a bar for each result, red if it is late, and a cross for each skipped frame."""

from __future__ import annotations

import numpy as np
import pytest

from robot_assets.figures.style import ALARM, CARD, class_colour, rgb_colour
from robot_assets.figures.timeline import Lane, engine_timeline


def lane(
    name: str = "walk", rate_hz: float = 15, work_ms: float = 20, skipped: tuple[int, ...] = (), **changes
) -> Lane:
    frames = np.arange(round(4 * rate_hz))
    released = frames * 1000 / rate_hz
    kept = ~np.isin(frames, skipped)
    start = released[kept] + 0.2
    return Lane(
        **{
            "name": name,
            "note": f"{rate_hz:g} Hz, 1 thread",
            "period_ms": 1000 / rate_hz,
            "deadline_ms": 1000 / rate_hz,
            "release_ms": released[kept],
            "start_ms": start,
            "finish_ms": start + work_ms + np.sin(frames[kept]) * work_ms / 10,
            "skipped_ms": released[~kept],
            "alone_ms": np.full(20, work_ms),
        }
        | changes
    )


def count(image, colour) -> int:
    return int((image == colour).all(axis=-1).sum())


def upper_half(image):
    """The timeline, without the latencies below it."""
    return image[: image.shape[0] // 2]


def test_each_engine_has_bars_in_its_own_colour(pixels):
    image = upper_half(pixels(engine_timeline([lane(), lane("ball", 10, 30)], "title")))
    assert count(image, class_colour(0)) > 1000
    assert count(image, class_colour(1)) > 1000
    assert count(image, rgb_colour(ALARM)) == 0


def test_a_late_result_is_red_at_any_time_of_the_run(pixels):
    finish = lane().finish_ms.copy()
    finish[45] += 80
    image = upper_half(pixels(engine_timeline([lane(finish_ms=finish)], "title")))
    assert count(image, rgb_colour(ALARM)) > 300


def test_a_skipped_frame_has_a_cross(pixels):
    image = upper_half(pixels(engine_timeline([lane(skipped=(30, 31))], "title")))
    assert count(image, rgb_colour(ALARM)) > 20


def test_a_bar_of_microseconds_is_visible(pixels):
    image = upper_half(pixels(engine_timeline([lane(work_ms=0.01)], "title")))
    assert count(image, class_colour(0)) > 100


@pytest.mark.parametrize("engines", [1, 3, 9])
def test_the_card_has_room_for_all_engines(pixels, engines):
    lanes = [lane(f"engine number {index} with $a long name", 5 + 4 * index) for index in range(engines)]
    data = engine_timeline(lanes, "title")
    image = pixels(data)
    assert image.shape[1] == 840
    border = np.concatenate([image[:8].reshape(-1, 3), image[-4:].reshape(-1, 3), image[:, -8:].reshape(-1, 3)])
    assert (border == rgb_colour(CARD)).all()
    assert data == engine_timeline(lanes, "title")
    assert len(data) <= 200_000


def test_without_data_the_timeline_is_a_card_with_the_reason(pixels):
    assert pixels(engine_timeline([], "title")).shape[:2] == (92, 840)
    nothing = np.array([])
    empty = lane(release_ms=nothing, start_ms=nothing, finish_ms=nothing)
    assert pixels(engine_timeline([empty], "title")).shape[:2] == (92, 840)


def test_long_names_that_differ_at_the_end_are_drawn_differently():
    left, right = (engine_timeline([lane(f"a_detector_of_all_pedestrians {side}")], "title") for side in (1, 2))
    assert left != right
