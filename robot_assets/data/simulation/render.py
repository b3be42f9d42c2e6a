"""Renders scenes with Panda3D's software renderer: colour frames, instance masks, class masks and silhouettes.

Uses the graphics engine only, never ``ShowBase``, which leaves global state: several scenes can be opened in one
process. Needs no display and no GL driver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import DataError
from robot_assets.data.simulation.shapes import Floats, Ints, Point

Bytes = NDArray[np.uint8]

IDS = 254
"""Highest id of an item; the lowest is 1. In a mask, 0 is the street and the sky."""

SHADOW = 255
"""In a mask, ground in the shadow of an item."""

_SAMPLES = (1, 1)  # per pixel, across and down
_TILES = 3  # silhouettes per atlas
_NEAR, _FAR = 0.12, 260.0


@dataclass(frozen=True)
class View:
    """Pose of the camera: metres, and radians (heading counter-clockwise from +x, pitch upwards)."""

    x: float
    y: float
    z: float
    heading: float
    pitch: float


@dataclass(frozen=True)
class Frame:
    """A rendered image of a scene with its instance mask.

    Attributes:
        colour: uint8 (height, width, 4), BGRA, premultiplied; alpha is the share of the pixel that is not sky.
        ids: uint8 (height, width), instance ids; 0 is the street and the sky, ``SHADOW`` ground in shadow.
        is_item: bool (height, width), whether the pixel shows an item.
        pixels: int64 (n,), flat positions of those pixels, ascending.
        owners: uint8 (n,), the id in each of ``pixels``.
        classes: uint8 (height, width), class index + 1, 0 where nothing is drawn; None without class masks.
    """

    colour: Bytes
    ids: Bytes
    is_item: NDArray[np.bool_]
    pixels: NDArray[np.int64]
    owners: Bytes
    classes: Bytes | None


class Item:
    """An object of the scene with an id: an actor, a tree, a lamp. Casts no shadow until ``cast_shadow``."""

    def __init__(self, ident: int, node: Any, geometry: Any, ground: Any, mask_bit: Any) -> None:
        self.ident = ident
        self.node = node
        """Node that contains this item only."""
        self._geometry, self._ground, self._mask_bit = geometry, ground, mask_bit
        self._pose = node.attach_new_node("pose")
        self._pose.attach_new_node(geometry)
        self._shadow: Any = None

    def place(self, x: float, y: float, z: float, heading: float = 0.0) -> None:
        """Move the item and its shadow; ``heading`` in radians, counter-clockwise from +x."""
        self._pose.set_pos_hpr(x, y, z, math.degrees(heading), 0, 0)
        if self._shadow is not None:
            self._shadow.set_transform(self._pose.get_transform())

    def cast_shadow(self) -> None:
        """Cast a shadow from now on."""
        if self._shadow is None:
            self._shadow = self._ground.attach_new_node("shadow")
            self._shadow.attach_new_node(self._geometry)
            self._shadow.set_transform(self._pose.get_transform())

    def show_in_masks(self, is_shown: bool) -> None:
        """Draw the item into the masks, or not."""
        if is_shown:
            self.node.show(self._mask_bit)
        else:
            self.node.hide(self._mask_bit)

    def remove(self) -> None:
        """Remove the item from the scene."""
        self.node.remove_node()
        if self._shadow is not None:
            self._shadow.remove_node()


class Scene:
    """Street, items and cameras of one recording session.

    Args:
        width: of the images, pixels.
        height: of the images, pixels.
        field_of_view: horizontal, radians.
        towards_sun: unit vector to the sun.
    """

    def __init__(self, renderer: Renderer, width: int, height: int, field_of_view: float, towards_sun: Point) -> None:
        from panda3d import core

        self._core, self._renderer = core, renderer
        self.width, self.height = width, height
        self.focal = width / 2 / math.tan(field_of_view / 2)
        self._root = core.NodePath("scene")
        self._root.set_two_sided(False)
        self._shadows = {level: self._shadow_plane(towards_sun, level) for level in (0.0, -0.12)}
        renderer.aim(self._root, self.focal)

    def _shadow_plane(self, towards_sun: Point, level: float) -> Any:
        """Node that projects its children onto the ground along the rays of the sun."""
        x, y, z = towards_sun
        flat = 0.001
        plane = self._root.attach_new_node("shadows")
        plane.set_mat(
            self._core.LMatrix4(
                1, 0, 0, 0, 0, 1, 0, 0, -x / z, -y / z, flat, 0, level * x / z, level * y / z, level + 0.02, 1
            )
        )
        plane.set_tag("instance", str(SHADOW))
        plane.set_two_sided(True)
        plane.set_bin("fixed", 0)
        plane.hide(self._renderer.colour_bit | self._renderer.class_bit)
        return plane

    def add_surface(
        self, points: Floats, triangles: Ints, colours: Bytes, uvs: Floats, texture: Any, class_index: int | None
    ) -> None:
        """Add a textured part of the street: float32 (n, 3), int32 (m, 3), uint8 (n, 4), float32 (n, 2).

        It is not drawn into the instance masks: the street never occludes an item. ``class_index`` is its class in
        class masks; None leaves it out, for paint on a surface.
        """
        node = self._root.attach_new_node(self.geometry(points, triangles, colours, uvs))
        node.set_texture(texture)
        node.set_two_sided(True)
        # One colour per quad: the renderer's flat loop is much faster than the interpolating one.
        node.set_attrib(self._core.ShadeModelAttrib.make(self._core.ShadeModelAttrib.M_flat))
        node.hide(self._renderer.mask_bit)
        # Drawn in order of creation: Panda's default order depends on memory addresses, which would decide the
        # pixels where two surfaces meet.
        node.set_bin("fixed", 0)
        if class_index is None:
            node.hide(self._renderer.class_bit)
        else:
            node.set_tag("class", str(class_index))

    def add_zone(self, points: Floats, triangles: Ints, class_index: int) -> None:
        """Add ground of a class of its own that only class masks show: float32 (n, 3), int32 (m, 3).

        It has to be added before the surface below it.
        """
        if not self._renderer.has_class_masks:
            return
        node = self._root.attach_new_node(self.geometry(points, triangles, np.zeros((len(points), 4), np.uint8)))
        node.set_two_sided(True)
        node.hide(self._renderer.colour_bit | self._renderer.mask_bit)
        node.set_bin("fixed", 0)
        node.set_tag("class", str(class_index))

    def add_item(self, ident: int, geometry: Any, ground: float = 0.0, *, class_index: int) -> Item:
        """Add an item.

        Args:
            ident: value of its pixels in the instance mask, 1 to ``IDS``.
            geometry: from ``geometry``; several items may share one.
            ground: height of the ground below it, metres: 0 or -0.12.
            class_index: its class in class masks.
        """
        node = self._root.attach_new_node("item")
        node.set_bin("background", 0)  # before the street that it covers
        node.set_tag("instance", str(ident))
        node.set_tag("class", str(class_index))
        return Item(ident, node, geometry, self._shadows[ground], self._renderer.mask_bit)

    def geometry(self, points: Floats, triangles: Ints, colours: Bytes, uvs: Floats | None = None) -> Any:
        """Upload a mesh: float32 (n, 3), int32 (m, 3), uint8 (n, 4) RGBA; textured: float32 (n, 2)."""
        core = self._core
        layout = core.GeomVertexFormat.get_v3c4() if uvs is None else core.GeomVertexFormat.get_v3c4t2()
        columns = [np.ascontiguousarray(points, np.float32).view(np.uint8), colours]
        if uvs is not None:
            columns.append(np.ascontiguousarray(uvs, np.float32).view(np.uint8))
        data = core.GeomVertexData("mesh", layout, core.Geom.UH_static)
        data.unclean_set_num_rows(len(points))
        data.modify_array_handle(0).copy_data_from(np.concatenate(columns, axis=1).tobytes())
        primitive = core.GeomTriangles(core.Geom.UH_static)
        primitive.set_index_type(core.Geom.NT_uint16)
        index = primitive.modify_vertices(triangles.size)
        index.unclean_set_num_rows(triangles.size)
        index.modify_handle().copy_data_from(triangles.astype(np.uint16).tobytes())
        geom = core.Geom(data)
        geom.add_primitive(primitive)
        node = core.GeomNode("mesh")
        node.add_geom(geom)
        return node

    def render(self, view: View) -> Frame:
        """Draw the scene as seen from ``view``."""
        return self._renderer.draw(view)

    def silhouettes(self, items: Sequence[Item]) -> list[int]:
        """Count the pixels of each item's unoccluded silhouette in the last view.

        Counted at half the resolution and scaled: accurate to a few pixels.
        """
        counts: list[int] = []
        for start in range(0, len(items), _TILES):
            counts += self._renderer.silhouettes([item.node for item in items[start : start + _TILES]])
        return counts

    def close(self) -> None:
        """Remove everything from the scene."""
        self._root.remove_node()


class Renderer:
    """The renderer and its off-screen buffers; one for all sessions of a simulation.

    Args:
        width: of the images, pixels.
        height: of the images, pixels.
        classes: number of classes of class masks; 0 renders none.

    Raises:
        DataError: Panda3D is not installed, or has no software renderer.
    """

    def __init__(self, width: int, height: int, classes: int = 0) -> None:
        core = _panda3d()
        self._core = core
        self.width, self.height = width, height
        self.colour_bit, self.mask_bit, self.class_bit = (core.BitMask32.bit(bit) for bit in range(3))
        pipe = core.GraphicsPipeSelection.get_global_ptr().make_pipe("TinyOffscreenGraphicsPipe", "p3tinydisplay")
        if pipe is None:
            raise DataError(
                "this Panda3D has no software renderer (p3tinydisplay)",
                needed="the panda3d wheel from PyPI",
                fix="pip install --force-reinstall panda3d==1.10.16",
            )
        self._engine = core.GraphicsEngine(pipe)
        self._pipe = pipe
        self._lens = core.PerspectiveLens()
        self._lens.set_near_far(_NEAR, _FAR)
        self._colour = self._buffer("colour", width * _SAMPLES[0], height * _SAMPLES[1])
        self._mask = self._buffer("mask", width, height)
        self._class_mask = self._buffer("class mask", width, height) if classes else None
        tile = (max(width // 2, 1), max(height // 2, 1))
        self._tile = tile
        self._atlas = self._buffer("atlas", tile[0], tile[1] * _TILES)
        self._rig = core.NodePath("rig")
        self._colour_camera = self._camera(self._colour, self.colour_bit)
        self._flat_camera(self._mask, self.mask_bit, "instance", {value: value for value in range(1, SHADOW + 1)})
        if self._class_mask:
            self._flat_camera(self._class_mask, self.class_bit, "class", {value: value + 1 for value in range(classes)})
        self._tile_cameras = [self._tile_camera(index) for index in range(_TILES)]
        self._atlas[0].set_active(False)

    def _buffer(self, name: str, width: int, height: int) -> tuple[Any, Any]:
        core = self._core
        pixels = core.FrameBufferProperties()
        pixels.set_rgba_bits(8, 8, 8, 8)
        pixels.set_depth_bits(24)
        size = core.WindowProperties.size(width, height)
        buffer = self._engine.make_output(self._pipe, name, 0, pixels, size, core.GraphicsPipe.BF_refuse_window)
        if buffer is None:
            raise DataError(
                f"the renderer cannot allocate a buffer of {width}x{height} pixels",
                needed="an image size that fits into memory",
                fix="lower width and height of the simulation in params.yaml",
            )
        texture = core.Texture(name)
        buffer.add_render_texture(texture, core.GraphicsOutput.RTM_copy_ram)
        buffer.set_clear_color(core.LColor(0, 0, 0, 0))
        return buffer, texture

    def _camera(self, target: tuple[Any, Any], bit: Any) -> Any:
        camera = self._core.Camera(target[1].get_name())
        camera.set_lens(self._lens)
        camera.set_camera_mask(bit)
        node = self._rig.attach_new_node(camera)
        target[0].make_display_region().set_camera(node)
        return node

    def _tile_camera(self, index: int) -> Any:
        """Build the camera of one tile of the atlas; it renders everything white."""
        camera = self._core.Camera(f"tile{index}")
        camera.set_lens(self._lens)
        camera.set_camera_mask(self.mask_bit)
        self._flatten(camera, self._core.LColor(1, 1, 1, 1))
        node = self._rig.attach_new_node(camera)
        region = self._atlas[0].make_display_region(0, 1, index / _TILES, (index + 1) / _TILES)
        region.set_camera(node)
        return node

    def _flat_camera(self, target: tuple[Any, Any], bit: Any, tag: str, values: Mapping[int, int]) -> None:
        """Add a camera that draws nodes whose ``tag`` is a key of ``values`` with that value as red, 1 to 255."""
        core = self._core
        camera = self._camera(target, bit).node()
        self._flatten(camera, core.LColor(0, 0, 0, 1))
        camera.set_tag_state_key(tag)
        for key, value in values.items():
            red = core.LColor(min(value + 0.5, 255) / 255, 0, 0, 1)
            camera.set_tag_state(str(key), core.RenderState.make(core.ColorAttrib.make_flat(red), 200))

    def _flatten(self, camera: Any, colour: Any) -> None:
        camera.set_initial_state(self._flat(colour))

    def _flat(self, colour: Any) -> Any:
        core = self._core
        state = core.RenderState.make(core.ColorAttrib.make_flat(colour), 100)
        for attribute in (core.TextureAttrib.make_all_off(), core.LightAttrib.make_all_off()):
            state = state.add_attrib(attribute, 100)
        return state

    @property
    def has_class_masks(self) -> bool:
        """Whether frames have class masks."""
        return self._class_mask is not None

    def aim(self, root: Any, focal: float) -> None:
        """Move all cameras into a scene; ``focal`` in pixels of the image."""
        self._lens.set_film_size(self.width, self.height)
        self._lens.set_focal_length(focal)
        self._rig.reparent_to(root)

    def draw(self, view: View) -> Frame:
        """Draw colour and masks of the scene that ``aim`` set."""
        # Panda's cameras look along +y; ours along +x.
        self._rig.set_pos_hpr(view.x, view.y, view.z, math.degrees(view.heading) - 90.0, math.degrees(view.pitch), 0)
        self._engine.render_frame()
        ids = _red(self._mask)
        is_item = ids - np.uint8(1) < np.uint8(IDS)  # 0 wraps around
        pixels = np.flatnonzero(is_item)
        colour = _pixels(self._colour[1])
        if _SAMPLES[1] == 2:
            colour = _averaged(colour[0::2], colour[1::2])
        if _SAMPLES[0] == 2:
            colour = _averaged(colour[:, 0::2], colour[:, 1::2])
        classes = _red(self._class_mask) if self._class_mask else None
        return Frame(colour[::-1], ids, is_item, pixels, ids.ravel()[pixels], classes)

    def silhouettes(self, nodes: Sequence[Any]) -> list[int]:
        """Pixels (at full resolution) that each node alone covers."""
        core = self._core
        nothing = core.NodePath("nothing")
        for index, camera in enumerate(self._tile_cameras):
            camera.node().set_scene(nodes[index] if index < len(nodes) else nothing)
        self._only(self._atlas[0])
        self._engine.render_frame()
        self._only(*(target[0] for target in (self._colour, self._mask, self._class_mask) if target))
        tiles = _pixels(self._atlas[1])[:, :, 2].reshape(_TILES, self._tile[1], self._tile[0])
        counts = np.count_nonzero(tiles, axis=(1, 2))
        return [4 * int(count) for count in counts[: len(nodes)]]

    def _only(self, *active: Any) -> None:
        for target in (self._colour, self._mask, self._atlas, self._class_mask):
            if target:
                target[0].set_active(target[0] in active)

    def texture(self, pixels: Bytes) -> Any:
        """Upload a texture, uint8 (h, w, 3) RGB; h and w are powers of two, row 0 is the top."""
        core = self._core
        texture = core.Texture()
        height, width, _ = pixels.shape
        texture.setup_2d_texture(width, height, core.Texture.T_unsigned_byte, core.Texture.F_rgb)
        texture.set_ram_image(np.ascontiguousarray(pixels[::-1, :, ::-1]).tobytes())
        texture.set_minfilter(core.SamplerState.FT_linear_mipmap_nearest)
        texture.set_magfilter(core.SamplerState.FT_linear)
        texture.set_wrap_u(core.SamplerState.WM_repeat)
        texture.set_wrap_v(core.SamplerState.WM_repeat)
        return texture

    def close(self) -> None:
        """Free the buffers."""
        self._rig.remove_node()
        self._engine.remove_all_windows()


def _panda3d() -> Any:
    try:
        from panda3d import core
    except ImportError as error:
        raise DataError(
            f"Panda3D cannot be imported: {error}",
            needed="panda3d 1.10.16, the renderer of the simulation",
            fix="pip install 'robot-assets[training]'",
        ) from None
    return core


def _pixels(texture: Any) -> Bytes:
    """Pixels of a buffer, uint8 (h, w, 4), BGRA, bottom row first."""
    image = np.frombuffer(texture.get_ram_image(), np.uint8)
    return image.reshape(texture.get_y_size(), texture.get_x_size(), 4)


def _red(target: tuple[Any, Any]) -> Bytes:
    """Red channel of a buffer, uint8 (h, w), top row first."""
    return np.ascontiguousarray(_pixels(target[1])[::-1, :, 2])


def _averaged(one: Bytes, other: Bytes) -> Bytes:
    """Average two images of uint8 (h, w, 4), four bytes at a time."""
    a, b = one.view(np.uint32)[:, :, 0], other.view(np.uint32)[:, :, 0]
    mean: Bytes = ((a | b) - (((a ^ b) & np.uint32(0xFEFEFEFE)) >> np.uint32(1))).view(np.uint8)
    return mean.reshape(*a.shape, 4)
