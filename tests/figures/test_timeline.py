"""The timeline shows what happened: a bar for each answer, a mark for each that was late or never came."""

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


def has(image, colour) -> int:
    return int((image == colour).all(axis=-1).sum())


def upper_half(image):
    """The timeline, without the latencies below it."""
    return image[: image.shape[0] // 2]


def test_each_engine_has_bars_in_a_colour_of_its_own(pixels):
    image = upper_half(pixels(engine_timeline([lane(), lane("ball", 10, 30)], "title")))
    assert has(image, class_colour(0)) > 1000
    assert has(image, class_colour(1)) > 1000
    assert has(image, rgb_colour(ALARM)) == 0


def test_an_answer_that_came_late_is_red_even_when_it_came_late_in_the_run(pixels):
    finish = lane().finish_ms.copy()
    finish[45] += 80
    image = upper_half(pixels(engine_timeline([lane(finish_ms=finish)], "title")))
    assert has(image, rgb_colour(ALARM)) > 300


def test_a_skipped_frame_has_a_mark(pixels):
    image = upper_half(pixels(engine_timeline([lane(skipped=(30, 31))], "title")))
    assert has(image, rgb_colour(ALARM)) > 20


def test_a_bar_of_microseconds_can_still_be_seen(pixels):
    image = upper_half(pixels(engine_timeline([lane(work_ms=0.01)], "title")))
    assert has(image, class_colour(0)) > 100


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_card_grows_with_the_engines_and_cuts_nothing_off(pixels, count):
    lanes = [lane(f"engine number {index} with $a long name", 5 + 4 * index) for index in range(count)]
    data = engine_timeline(lanes, "title")
    image = pixels(data)
    assert image.shape[1] == 840
    border = np.concatenate([image[:8].reshape(-1, 3), image[-4:].reshape(-1, 3), image[:, -8:].reshape(-1, 3)])
    assert (border == rgb_colour(CARD)).all()
    assert data == engine_timeline(lanes, "title")
    assert len(data) <= 200_000


def test_nothing_to_show_gives_a_card_that_says_so(pixels):
    assert pixels(engine_timeline([], "title")).shape[:2] == (92, 840)
    nothing = np.array([])
    empty = lane(release_ms=nothing, start_ms=nothing, finish_ms=nothing)
    assert pixels(engine_timeline([empty], "title")).shape[:2] == (92, 840)


def test_long_names_that_differ_at_the_end_are_told_apart():
    left, right = (engine_timeline([lane(f"a_detector_of_all_pedestrians {side}")], "title") for side in (1, 2))
    assert left != right
