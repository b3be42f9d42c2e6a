"""Detection of near-duplicate images, without false positives."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from robot_assets.data.duplicates import SessionLink, linked_groups, near_links, session_links
from robot_assets.data.images import perceptual_hash
from tests.data.image_sources import encoded_image

hashes = st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1), st.integers(0, 15)), max_size=14)


@settings(deadline=None)
@given(hashes=hashes, bits=st.integers(0, 16))
def test_links_have_the_connected_components_of_all_near_pairs(hashes: list[int | None], bits: int) -> None:
    names = [f"{index:02}" for index in range(len(hashes))]
    every = [
        (names[i], names[j])
        for i, one in enumerate(hashes)
        for j, other in enumerate(hashes)
        if i < j and one is not None and other is not None and (one ^ other).bit_count() <= bits
    ]
    links = [(names[i], names[j]) for i, j in near_links(hashes, bits)]
    assert linked_groups(names, links) == linked_groups(names, every)


def test_a_static_camera_does_not_produce_millions_of_links() -> None:
    links = near_links([7] * 1000 + [6] * 1000, 2)
    assert len(links) == 1999
    names = [str(number) for number in range(2000)]
    assert len(linked_groups(names, [(names[i], names[j]) for i, j in links])) == 1


def test_links_are_fewer_than_images_also_when_all_hashes_differ() -> None:
    near = [7 ^ (1 << one) ^ (1 << other) for one in range(64) for other in range(one)]
    assert len(near_links(near, 4)) == len(set(near)) - 1


def test_sessions_are_linked_by_their_nearest_pair_of_images() -> None:
    images = [
        ("a/0", "a", 0b0000),
        ("a/1", "a", 0b1111),
        ("b/0", "b", 0b0001),
        ("b/1", "b", 0b1111),
        ("c/0", "c", None),
    ]
    assert session_links(images, 1) == [SessionLink(("a", "b"), ("a/1", "b/1"), 0)]


@settings(deadline=None)
@given(hashes=hashes, bits=st.integers(0, 16), sessions=st.integers(1, 4))
def test_every_link_of_sessions_is_a_near_pair_and_they_connect_what_images_connect(
    hashes: list[int | None], bits: int, sessions: int
) -> None:
    images = [(f"{index:02}", str(index % sessions), value) for index, value in enumerate(hashes)]
    links = session_links(images, bits)
    values = {name: value for name, _, value in images}
    for link in links:
        one, other = (values[name] for name in link.images)
        assert one is not None
        assert other is not None
        assert (one ^ other).bit_count() == link.bits <= bits
    names = {session for _, session, _ in images}
    pairs = [(images[i][1], images[j][1]) for i, j in near_links(hashes, bits)]
    assert linked_groups(names, [link.sessions for link in links]) == linked_groups(names, pairs)


def opened(seed: str) -> Image.Image:
    return Image.open(io.BytesIO(encoded_image(seed, width=320, height=240)))


def distance(one: Image.Image, other: Image.Image) -> int:
    first, second = perceptual_hash(one), perceptual_hash(other)
    assert first is not None
    assert second is not None
    return (first ^ second).bit_count()


def test_the_same_scene_recompressed_resized_or_darkened_is_near() -> None:
    image = opened("scene")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    assert distance(image, Image.open(buffer)) <= 2
    assert distance(image, image.resize((200, 150))) <= 2
    assert distance(image, ImageEnhance.Brightness(image).enhance(0.9)) <= 2


def test_different_scenes_are_far() -> None:
    assert min(distance(opened("scene"), opened(f"other {n}")) for n in range(50)) > 8


def test_a_blank_frame_has_no_hash() -> None:
    black = np.zeros((240, 320, 3), dtype=np.uint8)
    assert perceptual_hash(Image.fromarray(black)) is None
    noise = np.random.default_rng(0).integers(0, 4, (240, 320, 3), dtype=np.uint8)
    assert perceptual_hash(Image.fromarray(noise)) is None
