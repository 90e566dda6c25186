"""What the networks' configurations have in common."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import keras

    from edgefer.models.network import Weights


class Configured:
    """A frozen dataclass that configures a network: its options as JSON, and its defaults.

    Options are numbers, texts, enumerations, or tuples of them. Unless the network says
    otherwise, no image of a batch touches another, and its answers are probabilities.
    """

    title: ClassVar[str]

    @property
    def batch_coupled(self) -> bool:
        """Whether an image's answer depends on the other images of its batch: no."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever takes its answers should know: nothing special."""
        return ()

    def deployable(self, weights: "Weights") -> tuple[Self, "Weights"]:
        """Return the network as it is, which couples no images."""
        return self, weights

    def loss(
        self,
        model: "keras.Model",
        inputs: Any,
        target: Any,
        weight: Any,
        trained: Any,  # noqa: ARG002 - for a network whose loss has phases
    ) -> tuple[Any, Any]:
        """Return the weighted categorical cross-entropy, and the probabilities."""
        import keras
        from keras import ops

        predicted = model(inputs, training=True)
        losses = keras.losses.categorical_crossentropy(target, predicted)
        return ops.mean(losses * weight), predicted

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values."""
        return {name: _plain(getattr(self, name)) for name in _fields(type(self))}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` gave; ValueError where an option is unknown or does not fit."""
        fields = _fields(cls)
        unknown = set(options) - set(fields)
        if unknown:
            raise ValueError(f"{cls.title} has no option {', '.join(sorted(unknown))}")
        return cls(**{name: _typed(value, fields[name].default) for name, value in options.items()})


def _fields(cls: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


def _typed(value: Any, default: Any) -> Any:
    """Return what JSON holds of an option as the option itself."""
    if isinstance(default, Enum):
        return type(default)(value)
    return _frozen(value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
