"""The labelled classes with their mesh builders, and the builders of cones and bins.

A builder takes a random generator and returns a mesh that faces +x and stands on z = 0.
"""

from __future__ import annotations

from collections.abc import Callable

from robot_assets.data.simulation.palette import RUBBER, Random, between, pick
from robot_assets.data.simulation.people import cyclist, pedestrian
from robot_assets.data.simulation.shapes import Mesh, box, lathe, merge, transformed, tube, wheel
from robot_assets.data.simulation.vehicles import car, robot


def cone(rng: Random) -> Mesh:
    """A traffic cone with one to three reflective bands on a flat base."""
    height = between(rng, 0.5, 0.95)
    colour = pick(rng, ((0.95, 0.33, 0.06), (0.93, 0.28, 0.05), (0.9, 0.2, 0.1), (0.85, 0.85, 0.1)), 0.03)
    base = height * 0.27
    rubber = (0.07, 0.07, 0.07) if between(rng, 0, 1) < 0.5 else colour
    parts = [box((0, 0, 0.025), (base * 2, base * 2, 0.05), rubber, taper=0.94)]

    def radius(share: float) -> float:
        return base * 0.78 * (1 - share) + 0.025 * share

    parts.append(lathe((0, 0, 0.04), tuple((radius(s), s * (height - 0.04)) for s in (0, 0.5, 1.0)), colour, 12))
    for middle in ((0.52,), (0.38, 0.68), (0.3, 0.52, 0.74))[int(rng.integers(3))]:
        band = tuple((radius(s) + 0.006, s * (height - 0.04)) for s in (middle - 0.085, middle + 0.085))
        parts.append(lathe((0, 0, 0.04), band, (0.93, 0.93, 0.93), 12))
    return merge(parts)


def litter_bin(rng: Random) -> Mesh:
    """A bin: a wheeled household bin, a round litter bin, or a litter bin on a post."""
    kind = int(rng.choice(3, p=[0.5, 0.35, 0.15]))
    build = (_wheelie, _drum, _post_bin)[kind]
    return transformed(merge(build(rng)), scale=between(rng, 0.92, 1.12))


def _wheelie(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.14, 0.36, 0.18), (0.13, 0.25, 0.5), (0.25, 0.26, 0.28), (0.4, 0.26, 0.15)), 0.03)
    lid = body if between(rng, 0, 1) < 0.45 else pick(rng, ((0.85, 0.72, 0.1), (0.15, 0.35, 0.65), (0.6, 0.12, 0.1)))
    parts = [box((0, 0, 0.5), (0.46, 0.44, 0.9), body, taper=1.24)]
    parts.append(box((0, 0, 0.975), (0.62, 0.58, 0.05), lid))
    parts.append(box((0.02, 0, 1.02), (0.52, 0.5, 0.06), lid, taper=0.82))
    parts.append(box((0.285, 0, 0.8), (0.02, 0.3, 0.2), tuple(min(c * 1.5 + 0.1, 1.0) for c in body)))  # type: ignore[arg-type]
    parts.append(tube((-0.34, -0.24, 0.98), (-0.34, 0.24, 0.98), 0.022, lid, sides=5))
    parts += [wheel((-0.23, s * 0.24, 0.1), 0.1, 0.06, s, RUBBER, (0.3, 0.3, 0.3)) for s in (-1, 1)]
    return parts


def _drum(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.2, 0.22, 0.22), (0.13, 0.3, 0.2), (0.55, 0.56, 0.57), (0.38, 0.25, 0.15)), 0.03)
    parts = [lathe((0, 0, 0), ((0.26, 0.0), (0.27, 0.05), (0.27, 0.74), (0.29, 0.76), (0.29, 0.8)), body, 12)]
    parts.append(lathe((0, 0, 0.8), ((0.25, 0.0), (0.25, 0.13)), (0.03, 0.03, 0.03), 10))
    parts.append(lathe((0, 0, 0.93), ((0.3, 0.0), (0.27, 0.08), (0.15, 0.14)), body, 12))
    parts.append(lathe((0, 0, 0.55), ((0.276, 0.0), (0.276, 0.08)), pick(rng, ((0.85, 0.8, 0.2), (0.8, 0.8, 0.8))), 12))
    return parts


def _post_bin(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.9, 0.45, 0.08), (0.12, 0.4, 0.25), (0.15, 0.3, 0.6), (0.35, 0.36, 0.38)), 0.03)
    parts = [tube((-0.22, 0, 0), (-0.22, 0, 1.25), 0.035, (0.4, 0.4, 0.42), sides=6)]
    parts.append(lathe((0, 0, 0.5), ((0.15, 0.0), (0.19, 0.06), (0.2, 0.58), (0.21, 0.6)), body, 10))
    parts.append(lathe((0, 0, 1.1), ((0.18, 0.0), (0.17, 0.01)), (0.05, 0.05, 0.05), 10))
    return parts


BUILDERS: dict[str, Callable[[Random], Mesh]] = {
    "pedestrian": pedestrian,
    "cyclist": cyclist,
    "car": car,
    "robot": robot,
    "cone": cone,
    "bin": litter_bin,
}
"""Class name -> builder, in the order of ``SIMULATED_CLASSES``."""
