"""What a pickle of torch may say, and what is made of it: descriptions of data, nothing that acts.

A pickle describes an object by the call of a function that would make it. The few functions that
torch uses for tensors are answered here; what stands beside weights in a checkpoint (a schedule,
a record of the training) stays shut; any other call is code, and is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SAVE_WEIGHTS = 'save its weights instead: torch.save(model.state_dict(), "weights.pth")'
DAMAGED = "is damaged or cut short; copy or download it again"

_MOST_AXES = 32
_LARGEST_SIZE = 2**40
_LONGEST_NAME = 80


class UnreadableError(ValueError):
    """The file cannot be read; the message goes on after its name."""


@dataclass(frozen=True)
class Name:
    """A module's attribute that the pickle mentions, such as `torch.FloatStorage`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The `count` elements of the storage called `key`; `kind` is torch's, such as FloatStorage."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as a view of its storage; offset and strides count elements.

    `kind` is torch's name of the elements' type, or of the storage's.
    """

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False)
class Instance:
    """An object of a class that stays unknown, left shut: nothing of the class is run."""

    class_name: str
    state: Any = field(default=None, repr=False)


def called(function: Any, arguments: Any) -> Any:
    """Answer a call that describes data; UnreadableError for any other."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise TypeError("only a name can be called")
    if function.text in _ANSWERS:
        return _ANSWERS[function.text](arguments)
    if function.text in _LEFT_SHUT:
        return Instance(function.text)
    if function.text.startswith("torch._utils._rebuild_"):
        kind = function.text.removeprefix("torch._utils._rebuild_")
        raise UnreadableError(f"has a tensor of a kind that is not supported ({printable(kind)})")
    raise UnreadableError(
        f"has code in it, a call of {printable(function.text)}; nothing was executed, "
        "ask its authors for a state dict"
    )


def made(kind: Any) -> Instance:
    """Return an object of a class, without anything that would fill it."""
    if not isinstance(kind, Name):
        raise TypeError("only a named class has objects")
    return Instance(kind.text)


def require_no_module(instance: Instance) -> None:
    """Refuse a whole module: what its weights mean is said by code that is not in the file."""
    state = instance.state
    if isinstance(state, dict) and not {"_parameters", "_modules"}.isdisjoint(state):
        raise UnreadableError(
            f"has a whole module in it ({printable(instance.class_name)}), which only its own "
            f"code can open; {SAVE_WEIGHTS}"
        )


def storage(persistent: Any) -> Storage:
    """Read a persistent id: ("storage", type, key, device, count), and of a view its place."""
    if not isinstance(persistent, tuple) or not persistent:
        raise TypeError("not a persistent id of torch")
    if persistent[0] == "module":
        raise UnreadableError(f"has a whole module in it; {SAVE_WEIGHTS}")
    what, kind, key, _device, count, *view = persistent
    if what != "storage" or not isinstance(kind, Name) or not isinstance(key, str):
        raise TypeError("not a storage")
    if view not in ([], [None]):
        raise UnreadableError("was written by a torch before 0.4; open it there and save it again")
    return Storage(key=key, kind=kind.text.rpartition(".")[2], count=_size(count))


def printable(text: str) -> str:
    """Return a text from a file such that it fits into a line and steers no terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST_NAME])


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """Answer `_rebuild_tensor` and `_rebuild_tensor_v2`: storage, offset, size, strides, …."""
    whole, offset, shape, strides = arguments[:4]
    if not isinstance(whole, Storage) or not isinstance(shape, tuple):
        raise TypeError("not a tensor")
    if not len(shape) == len(strides) <= _MOST_AXES:
        raise ValueError("shape and strides differ in length, or are too long")
    return StoredTensor(
        storage=whole,
        kind=whole.kind,
        offset=_size(offset),
        shape=tuple(_size(size) for size in shape),
        strides=tuple(_size(stride) for stride in strides),
    )


def _typed_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """Answer `_rebuild_tensor_v3`, whose storage holds bytes and whose seventh argument a type."""
    kind = arguments[6]
    if not isinstance(kind, Name):
        raise TypeError("not a type")
    return dataclasses.replace(_tensor(arguments), kind=kind.text.rpartition(".")[2])


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _of_subclass(arguments: tuple[Any, ...]) -> Any:
    """Answer `_rebuild_from_type_v2(function, type, arguments, state)`."""
    function, _type, inner, _state = arguments
    if not isinstance(function, Name) or function.text == "torch._tensor._rebuild_from_type_v2":
        raise TypeError("not a way to make a tensor")
    return called(function, inner)


def _dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Answer `OrderedDict`, given as a list of pairs or filled later, and `defaultdict`."""
    pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return {key: value for key, value in pairs if type(key) in (str, int)}


_ANSWERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch.Size": _first,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
}

_LEFT_SHUT = frozenset(
    {
        "__builtin__.set", "_codecs.encode", "builtins.frozenset", "builtins.set",
        "collections.Counter", "collections.deque", "copy_reg._reconstructor",
        "copyreg._reconstructor", "datetime.datetime", "datetime.timedelta", "numpy.dtype",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "torch.device",
        "torch.serialization._get_layout",
    }
)  # fmt: skip


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST_SIZE:
        raise ValueError("not a size")
    return value
