"""The picture of a rollout: every robot has a cell in the colour of its status, in small and in large groups."""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robot_assets.fleet.figure import draw
from robot_assets.fleet.rollout import Decision, Phase, Status, batch_sizes

BATCHES = (1, "10%", "50%", "100%")
RELEASE = f"{'1' * 32}.dir"
FAILED_RGB = (0xB3, 0x26, 0x1E)
BAKED_RGB = (0x00, 0x9E, 0x73)
WAITING_RGB = (0xD9, 0xDB, 0xDD)


def decision(phase: Phase = Phase.ROLLING, **counts: int) -> Decision:
    statuses = [Status[name.upper()] for name, count in counts.items() for _ in range(count)]
    robots = {f"delivery_{number:04}": status for number, status in enumerate(statuses)}
    sizes = batch_sizes(BATCHES, len(robots))
    return Decision(RELEASE, phase, "why", len(sizes), len(sizes), (), robots, sizes)


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def share_of(colour: tuple[int, int, int], image: NDArray[np.uint8]) -> float:
    return float((image == colour).all(axis=-1).mean())


@pytest.mark.parametrize("robots", [1, 3, 40, 41, 200, 2000, 20_000])
def test_groups_of_any_size_fit_a_page(robots):
    image = pixels(draw(decision(baked=robots - robots // 3, waiting=robots // 3), "delivery"))
    assert image.shape[1] == 840
    assert image.shape[0] <= 700
    assert share_of(BAKED_RGB, image) > 0.001


def test_cells_are_shares_of_the_picture_as_robots_are_of_the_group():
    image = pixels(draw(decision(baked=100, waiting=100), "delivery"))[:-58]
    assert share_of(BAKED_RGB, image) == pytest.approx(share_of(WAITING_RGB, image), rel=0.05)


def test_one_failed_robot_of_two_thousand_is_seen():
    without = pixels(draw(decision(baked=1999, committed=1), "delivery"))[:-58]
    one = pixels(draw(decision(baked=1999, failed=1), "delivery"))[:-58]
    assert share_of(FAILED_RGB, without) == 0
    assert (one == FAILED_RGB).all(axis=-1).sum() >= 20


def test_cells_of_many_batches_are_not_small():
    made = decision(baked=100, waiting=100)
    few, many = (replace(made, sizes=batch_sizes(shares, 200)) for shares in (["100%"], [*(f"{n}%" for n in _TENS)]))
    cells = [(pixels(draw(one, "delivery")) == BAKED_RGB).all(axis=-1).sum() for one in (few, many)]
    assert cells[1] == pytest.approx(cells[0], rel=0.05)


_TENS = range(10, 101, 10)


def test_every_status_has_its_own_look():
    looks = {status: draw(decision(**{status.name.lower(): 41}), "delivery") for status in Status}
    assert len(set(looks.values())) == len(Status)


def test_equal_decisions_give_equal_pictures():
    made = decision(baked=5, failed=1, offline=4)
    assert draw(made, "delivery") == draw(made, "delivery")


@pytest.mark.parametrize("name", ["x" * 63, "$x^2$", "[red]a[/red]", "配送_01"])
def test_names_are_drawn_as_they_are_and_fit(name):
    made = Decision(RELEASE, Phase.ROLLING, "why", 1, 1, (name,), {name: Status.SILENT}, (1,))
    assert pixels(draw(made, name)).shape[1] == 840


def test_a_recalled_release_keeps_its_picture():
    recalled = replace(decision(Phase.STOPPED, baked=2, waiting=1), release=None)
    assert draw(recalled, "delivery") != draw(decision(Phase.STOPPED, baked=2, waiting=1), "delivery")


def test_nothing_to_roll_out_is_a_card_with_the_reason():
    nothing = Decision(None, Phase.NOTHING, "no release of the group has passed its gate")
    assert pixels(draw(nothing, "delivery")).shape == (92, 840, 3)
    stopped = Decision(RELEASE, Phase.NOTHING, "no robot of the group is enrolled")
    assert draw(stopped, "delivery") != draw(nothing, "delivery")
