"""What a pickle of torch describes, read opcode by opcode: nothing that it names is ever imported.

A pickle is a program for a small machine with a stack. This is such a machine without the two
things that make pickles dangerous: a name stays a name, and the only calls are those of a dozen
functions that torch and numpy use to describe data, which are answered here. The opcodes and
their arguments are those of `pickletools`.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_OPCODES = 2_000_000
"""A checkpoint of 2,000 tensors with its optimizer's state takes some 200,000."""

SAVE_WEIGHTS = 'save its weights instead: torch.save(model.state_dict(), "weights.pth")'

_MOST_AXES = 32


class UnreadableError(ValueError):
    """The pickle cannot be read: the message says of the file what is wrong with it."""


@dataclass(frozen=True)
class Name:
    """A module's attribute that the pickle mentions, such as `torch.FloatStorage`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A run of `count` elements of the storage called `key`, from the element `start` on.

    `kind` is torch's name of the type, such as `FloatStorage`.
    """

    key: str
    kind: str
    count: int
    start: int = 0


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as a view of its storage; offset and strides count elements.

    `dtype` is torch's name of the type, where the storage does not tell it.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str | None = None


@dataclass(eq=False)
class Instance:
    """An object of a class that stays unknown, left shut: neither made nor called."""

    class_name: str
    state: Any = field(default=None, repr=False)


def load(stream: io.BytesIO) -> Any:
    """Read one pickle and leave `stream` behind it.

    Returns numbers, texts, lists, tuples and dicts as such, tensors as StoredTensor, everything
    else as Name or Instance. Keys of dicts that are no texts or integers are left out. Raises
    UnreadableError, for calls of functions that are not known to describe data too.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == MOST_OPCODES:
                raise UnreadableError(f"its pickle has more than {MOST_OPCODES:,} steps")
            machine.step(opcode.name, argument)
        return machine.stack[-1]
    except UnreadableError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        raise UnreadableError("its pickle is damaged; copy or download the file again") from exc


class _Machine:
    """A stack, the marks in it, and the memo: what opcodes work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in _PUSHES_ARGUMENT:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _MEMO_WRITES:
            self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
        elif name in _MEMO_READS:
            self.stack.append(self.memo[int(argument)])
        elif name in _TUPLE_LENGTHS:
            self.stack.append(self.pop(_TUPLE_LENGTHS[name]))
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _IGNORED:
            raise UnreadableError(f"its pickle has a step that torch never writes ({name})")

    def pop(self, count: int) -> tuple[Any, ...]:
        """Take the last `count` values off the stack, in their order."""
        if len(self.stack) < count:
            raise IndexError("the stack is too short")
        taken = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return taken

    def pop_to_mark(self) -> tuple[Any, ...]:
        """Take everything off the stack that was put there since the last mark."""
        return self.pop(len(self.stack) - self.marks.pop())

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def drop(self, _: Any) -> None:
        self.pop(1)

    def drop_to_mark(self, _: Any) -> None:
        self.pop_to_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def make_tuple(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def make_list(self, _: Any) -> None:
        self.stack.append(list(self.pop_to_mark()))

    def make_dict(self, _: Any) -> None:
        pairs = self.pop_to_mark()
        self.stack.append({})
        self.set_items(pairs)

    def append(self, _: Any) -> None:
        self.extend(self.pop(1))

    def append_all(self, _: Any) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, values: Sequence[Any]) -> None:
        """Add values to the list, or to the unknown object, on the stack."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif not isinstance(self.stack[-1], Instance):
            raise TypeError("only a list can be added to")

    def set_item(self, _: Any) -> None:
        self.set_items(self.pop(2))

    def set_all_items(self, _: Any) -> None:
        self.set_items(self.pop_to_mark())

    def set_items(self, pairs: Sequence[Any]) -> None:
        """Put keys and values into the dict, or into the unknown object, on the stack."""
        if isinstance(self.stack[-1], dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                if type(key) in (str, int):  # others may not be hashed: a nested tuple can crash
                    self.stack[-1][key] = value
        elif not isinstance(self.stack[-1], Instance):
            raise TypeError("only a dict has items")

    def name_at_once(self, argument: str) -> None:
        self.stack.append(Name(argument.replace(" ", ".")))

    def name_from_stack(self, _: Any) -> None:
        module, name = self.pop(2)
        self.stack.append(Name(f"{_text(module)}.{_text(name)}"))

    def call(self, _: Any) -> None:
        function, arguments = self.pop(2)
        self.stack.append(_called(function, arguments))

    def new(self, _: Any) -> None:
        kind, _arguments = self.pop(2)
        self.stack.append(_made(kind))

    def new_with_keywords(self, _: Any) -> None:
        kind, _arguments, _keywords = self.pop(3)
        self.stack.append(_made(kind))

    def build(self, _: Any) -> None:
        (state,) = self.pop(1)
        if isinstance(self.stack[-1], Instance):
            self.stack[-1].state = state
            _require_no_module(self.stack[-1])

    def refer(self, _: Any) -> None:
        (persistent,) = self.pop(1)
        self.stack.append(_storage(persistent))


_PUSHES_ARGUMENT = frozenset(
    {
        "BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINSTRING",
        "BINUNICODE", "BINUNICODE8", "BYTEARRAY8", "FLOAT", "INT", "LONG", "LONG1", "LONG4",
        "SHORT_BINBYTES", "SHORT_BINSTRING", "SHORT_BINUNICODE", "STRING", "UNICODE",
    }
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Instance("builtins.set"),
}
_MEMO_WRITES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MEMO_READS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLE_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.duplicate,
    "TUPLE": _Machine.make_tuple,
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "ADDITEMS": _Machine.append_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_all_items,
    "GLOBAL": _Machine.name_at_once,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}


def _called(function: Any, arguments: Any) -> Any:
    """Answer a call that describes data; any other is code, and is refused."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise TypeError("only a name can be called")
    if function.text in _ANSWERS:
        return _ANSWERS[function.text](arguments)
    if function.text in _LEFT_SHUT:
        return Instance(function.text)
    if function.text.startswith("torch._utils._rebuild_"):
        kind = function.text.removeprefix("torch._utils._rebuild_")
        raise UnreadableError(f"has a tensor of a kind that is not supported ({kind[:80]})")
    raise UnreadableError(
        f"has code in it (a call of {_printable(function.text)}); nothing was executed: "
        "ask its authors for a state dict"
    )


def _made(kind: Any) -> Instance:
    if not isinstance(kind, Name):
        raise TypeError("only a named class has objects")
    return Instance(kind.text)


def _require_no_module(made: Instance) -> None:
    """Refuse a whole module: its forward pass is code elsewhere, its weights lie in its state."""
    state = made.state
    if isinstance(state, dict) and not {"_parameters", "_modules"}.isdisjoint(state):
        raise UnreadableError(
            f"is a whole pickled module ({_printable(made.class_name)}), which only its own code "
            f"can open; {SAVE_WEIGHTS}"
        )


def _storage(persistent: Any) -> Storage:
    """Read a persistent id: ("storage", type, key, device, count), and a view's place."""
    if isinstance(persistent, tuple) and persistent[:1] == ("module",):
        raise UnreadableError(f"is a whole pickled module; {SAVE_WEIGHTS}")
    if not isinstance(persistent, tuple) or not 5 <= len(persistent) <= 6:
        raise TypeError("not a storage")
    what, kind, key, _device, count = persistent[:5]
    if what != "storage" or not isinstance(kind, Name):
        raise TypeError("not a storage")
    name = kind.text.removeprefix("torch.").removeprefix("storage.").removeprefix("cuda.")
    whole = Storage(key=_text(key), kind=name, count=_size(count))
    view = persistent[5] if len(persistent) == 6 else None
    if view is None:
        return whole
    _view_key, start, length = view
    if _size(start) + _size(length) > whole.count:
        raise ValueError("a view is larger than its storage")
    return Storage(key=whole.key, kind=name, count=length, start=start)


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """Answer `_rebuild_tensor` and `_rebuild_tensor_v2`."""
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise TypeError("not a storage")
    if not len(shape) == len(strides) <= _MOST_AXES:
        raise ValueError("shape and strides differ in length, or are too long")
    return StoredTensor(
        storage=storage,
        offset=_size(offset),
        shape=tuple(_size(size) for size in shape),
        strides=tuple(_size(stride) for stride in strides),
    )


def _tensor_with_type(arguments: tuple[Any, ...]) -> StoredTensor:
    """Answer `_rebuild_tensor_v3`, whose storage is bytes without a type."""
    plain, dtype = _tensor(arguments), arguments[6]
    if not isinstance(dtype, Name):
        raise TypeError("not a type")
    return StoredTensor(
        storage=plain.storage,
        offset=plain.offset,
        shape=plain.shape,
        strides=plain.strides,
        dtype=dtype.text.removeprefix("torch."),
    )


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _from_type(arguments: tuple[Any, ...]) -> Any:
    """Answer `_rebuild_from_type_v2(function, type, arguments, state)`."""
    return _called(arguments[0], arguments[2])


def _dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Answer `OrderedDict()`, which gets its items later, or at once as a list of pairs."""
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, Name):  # defaultdict's factory
        return {}
    return {key: value for key, value in pairs if type(key) in (str, int)}


_ANSWERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_type,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _first,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
}

# What stands beside weights in checkpoints: a best accuracy, a schedule, a record of a training.
_LEFT_SHUT = frozenset(
    {
        "_codecs.encode", "__builtin__.set", "builtins.set", "builtins.frozenset",
        "collections.Counter", "collections.deque", "copyreg._reconstructor",
        "copy_reg._reconstructor", "datetime.datetime", "datetime.timedelta", "numpy.dtype",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "torch.device",
    }
)  # fmt: skip


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise ValueError("not a size")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _printable(text: str) -> str:
    """Return a name from a file so that it fits a line and steers no terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:80])
