"""The protocol of a task: what networks are trained for, in one value that its package builds.

A task names its parts by entry points, ``package.module:name``. So a robot imports the decoder and nothing else, and an
edit of the drawing makes no engine stale: a stage adds the entry points of the parts that it uses to its code.

The parts, and what each has to be:

==========  ==========================================================================================
labels      :class:`robot_assets.tasks.labels.LabelFormat`, an instance (numpy and Pillow)
scorer      a class, :class:`Scorer` (numpy)
decoders    functions, one for each :class:`Decoder` (numpy alone: robots run them)
training    a class, :class:`robot_assets.tasks.learning.Learning` (torch)
compact     a function that builds the network of this package (torch)
drawing     a module with the functions of :class:`Drawing`
==========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

from robot_assets.core.dispatch import chosen_by_params, entry
from robot_assets.core.errors import ParamsError
from robot_assets.core.spec import Spec
from robot_assets.core.validation import unknown
from robot_assets.tasks.interface import Head, Input
from robot_assets.tasks.metrics import Metric, Metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robot_assets.tasks.geometry import Fitted
    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.labels import LabelFormat
    from robot_assets.tasks.learning import Learning

    Outputs = Sequence[NDArray[Any]]
    """The heads of a batch, in the order of the interface."""


class Prediction(Protocol):
    """What a network says of one image, in pixels of its input."""

    def in_image(self, fitted: Fitted) -> Self:
        """The same in pixels of the image."""
        ...


class Split(Protocol):
    """The part of a packed split that scoring reads (``robot_assets.data.packed``)."""

    classes: tuple[str, ...]
    image_ids: tuple[int, ...]

    def __len__(self) -> int: ...

    def image(self, i: int) -> NDArray[np.uint8]:
        """RGB uint8 (H, W, 3)."""
        ...

    def coco(self) -> dict[str, Any]:
        """The labels as a COCO document; category id = class index + 1."""
        ...

    def annotations(self, i: int) -> list[dict[str, Any]]:
        """The annotations of image ``i`` in that document."""
        ...

    def payload(self, i: int) -> bytes:
        """What the label format of the task keeps of image ``i`` beside the COCO document; empty for none."""
        ...


class Scorer(Protocol):
    """Scores the predictions of a split. ``measured`` is called from several threads, and ``metrics`` once."""

    def __init__(self, split: Split) -> None: ...

    def measured(self, index: int, prediction: Any) -> Any:
        """What the metric needs of the prediction of image ``index``, in pixels of the image, and no more."""
        ...

    def metrics(self, measured: Sequence[Any]) -> Metrics:
        """The metrics, from one value of ``measured`` for each image in their order."""
        ...


class Drawing(Protocol):
    """Pictures of a task, as PNG. The functions of a module."""

    def labelled_sheet(self, images: Sequence[Any], labels: Sequence[Any], classes: Sequence[str]) -> bytes:
        """Images uint8 (H, W, 3) with the labels that their format has read."""
        ...

    def prediction_sheet(
        self, images: Sequence[Any], labels: Sequence[Any], predictions: Sequence[Any], classes: Sequence[str]
    ) -> bytes:
        """Images with their labels, and with what a network says of them, in pixels of the image."""
        ...

    def drawn(self, image: Any, prediction: Any, classes: Sequence[str], score_min: float) -> Any:
        """An image uint8 (H, W, 3) with what a network says of it, in pixels of the image.

        ``score_min`` is the lowest score that is shown, where predictions have scores.
        """
        ...

    def findings(self, prediction: Any, classes: Sequence[str], score_min: float) -> list[dict[str, Any]]:
        """The same as plain data: dictionaries with ``class``, with ``score`` or ``share``, and others of the task."""
        ...


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """One way to read the heads of a network.

    Attributes:
        name: Such as ``grid``.
        options: Class of its parameters.
        heads: The heads that it reads. Arguments: the input, its options, the classes, and the outputs of a foreign
            graph by name with their shapes, empty for a network of ours, whose outputs get the names of the heads.
            Raises ValueError with what was found and what is needed.
        run: Entry point of the function that decodes: ``(outputs, interface) -> list of predictions``, one an image.
    """

    name: str
    options: type[Spec]
    heads: Callable[[Input, Any, tuple[str, ...], Mapping[str, tuple[int, ...]]], tuple[Head, ...]]
    run: str

    @property
    def code(self) -> tuple[str, ...]:
        """Entry points of its code."""
        return entry(self.options), entry(self.heads), self.run


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task. No field has a default: a task without one of them is a TypeError when it is imported.

    Attributes:
        name: ``task`` of a model and of a data set in params.yaml.
        title: For people, such as ``object detection``.
        metric: What it is judged by.
        labels: Entry point of its label format.
        scorer: Entry point of its scorer.
        decoders: Its decoders. The first one reads networks that are trained here; its options are
            ``network.heads`` in params.yaml.
        training: Entry point of targets and loss.
        loss: Class of ``models.M.loss`` in params.yaml. Where it has a method ``check_classes(classes)``, params.yaml
            is checked by it: it raises ValueError with one line for each mistake, which begins with the key.
        compact_spec: Class of ``network`` with ``kind: compact``, which has ``input_height``, ``input_width`` and
            ``heads``, the options of the first decoder; None: there is no network of this package.
        compact: Entry point of the function that builds it: ``(spec, classes) -> nn.Module``; None as before.
        drawing: Entry point of its pictures, a module.
    """

    name: str
    title: str
    metric: Metric
    labels: str
    scorer: str
    decoders: tuple[Decoder, ...]
    training: str
    loss: type[Spec]
    compact_spec: type[Any] | None
    compact: str | None
    drawing: str

    def decoder(self, name: str) -> Decoder:
        """One of its decoders.

        Raises:
            ParamsError: It has none of that name.
        """
        known = {one.name: one for one in self.decoders}
        if name not in known:
            raise ParamsError(
                f"source.decoder: {unknown('decoder', name, known)}",
                needed=f"a decoder of the task {self.name}: {', '.join(known)}",
                fix="robot-assets model inspect FILE   # lists the decoders that fit the outputs",
            )
        return known[name]

    @property
    def own_decoder(self) -> Decoder:
        """The decoder of networks that are trained here."""
        return self.decoders[0]

    def scoring_code(self, decoder: str) -> tuple[str, ...]:
        """Entry points of the code that decodes and scores, for the stages and gates that evaluate."""
        return *self.decoder(decoder).code, self.scorer

    @property
    def training_code(self) -> tuple[str, ...]:
        """Entry points of the code of its targets and its loss."""
        return self.training, entry(self.loss)

    def load_labels(self) -> LabelFormat:
        """Its label format."""
        found: LabelFormat = loaded(self.labels)
        return found

    def load_scorer(self) -> type[Scorer]:
        """Its scorer."""
        found: type[Scorer] = loaded(self.scorer)
        return found

    def load_decoder(self, name: str) -> Callable[[Outputs, Interface], list[Any]]:
        """The function of one of its decoders."""
        found: Callable[[Outputs, Interface], list[Any]] = loaded(self.decoder(name).run)
        return found

    def load_training(self) -> type[Learning]:
        """Its targets and its loss."""
        found: type[Learning] = loaded(self.training)
        return found

    def load_drawing(self) -> Drawing:
        """Its pictures."""
        found: Drawing = loaded(self.drawing)
        return found


@chosen_by_params
def loaded(entry: str) -> Any:
    """The value of an entry point, ``package.module:name``, or a whole module, ``package.module``."""
    module, _, name = entry.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found
