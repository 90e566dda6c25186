"""A pickle of torch, read opcode by opcode: nothing that it names is ever imported or run.

A pickle is a program for a small machine with a stack. This is such a machine without what makes
pickles dangerous: a name stays a name, and calls are answered by `torch_objects`, or refused. The
opcodes and their arguments are read by the standard library's `pickletools`.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.models.formats import torch_objects
from edgefer.models.formats.torch_objects import DAMAGED, Instance, Name, Storage, UnreadableError

MOST_STEPS = 2_000_000
"""A checkpoint of 2,000 tensors with its optimizer's state takes some 200,000."""


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """What a pickle describes, and the storages that it mentions, by key.

    `value` is of numbers, texts, bytes, lists, tuples and dicts, StoredTensors for tensors, and
    Name or Instance for everything else. Keys of dicts are texts and integers; others are left
    out with their values.
    """

    value: Any
    storages: Mapping[str, Storage]


def load(stream: io.BytesIO) -> Pickled:
    """Read one pickle and leave `stream` behind it; UnreadableError says why it cannot be."""
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name with an odd escape leads to one
            for opcode, argument, _ in pickletools.genops(stream):
                machine.step(opcode.name, argument)
        return Pickled(value=machine.stack[-1], storages=machine.storages)
    except UnreadableError:
        raise
    except (ValueError, TypeError, LookupError) as exc:
        raise UnreadableError(DAMAGED) from exc


class _Machine:
    """A stack, the marks in it, the memo, and the storages met: what opcodes work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.steps = 0

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise UnreadableError(f"has a pickle of more than {MOST_STEPS:,} steps in it")
        if opcode in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif opcode in _PUSH_CONSTANT:
            self.stack.append(_PUSH_CONSTANT[opcode]())
        elif opcode in _WRITE_MEMO:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif opcode in _READ_MEMO:
            self.stack.append(self.memo[argument])
        elif opcode in _TUPLE_LENGTHS:
            self.stack.append(self.pop(_TUPLE_LENGTHS[opcode]))
        elif opcode in _STEPS:
            _STEPS[opcode](self)
        elif opcode in _NAME:
            self.stack.append(Name(argument.replace(" ", ".")))
        elif opcode not in _IGNORE:
            raise UnreadableError(f"has a pickle with a step that torch never writes ({opcode})")

    def pop(self, count: int) -> tuple[Any, ...]:
        """Take the last `count` values off the stack, in their order."""
        start = len(self.stack) - count
        if start < 0:
            raise IndexError("the stack is too short")
        taken = tuple(self.stack[start:])
        del self.stack[start:]
        return taken

    def pop_to_mark(self) -> tuple[Any, ...]:
        """Take what was put on the stack since the last mark."""
        return self.pop(len(self.stack) - self.marks.pop())

    def mark(self) -> None:
        """Carry out MARK."""
        self.marks.append(len(self.stack))

    def drop(self) -> None:
        """Carry out POP."""
        self.pop(1)

    def drop_to_mark(self) -> None:
        """Carry out POP_MARK."""
        self.pop_to_mark()

    def duplicate(self) -> None:
        """Carry out DUP."""
        self.stack.append(self.stack[-1])

    def make_tuple(self) -> None:
        """Carry out TUPLE."""
        self.stack.append(self.pop_to_mark())

    def make_list(self) -> None:
        """Carry out LIST."""
        self.stack.append(list(self.pop_to_mark()))

    def make_dict(self) -> None:
        """Carry out DICT."""
        pairs = self.pop_to_mark()
        self.stack.append({})
        self._fill(pairs)

    def append(self) -> None:
        """Carry out APPEND."""
        self._extend(self.pop(1))

    def append_all(self) -> None:
        """Carry out APPENDS, and ADDITEMS for a set."""
        self._extend(self.pop_to_mark())

    def set_item(self) -> None:
        """Carry out SETITEM."""
        self._fill(self.pop(2))

    def set_items(self) -> None:
        """Carry out SETITEMS."""
        self._fill(self.pop_to_mark())

    def name(self) -> None:
        """Carry out STACK_GLOBAL."""
        module, attribute = self.pop(2)
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise TypeError("not a name")
        self.stack.append(Name(f"{module}.{attribute}"))

    def call(self) -> None:
        """Carry out REDUCE."""
        function, arguments = self.pop(2)
        self.stack.append(torch_objects.called(function, arguments))

    def make(self) -> None:
        """Carry out NEWOBJ."""
        kind, _arguments = self.pop(2)
        self.stack.append(torch_objects.made(kind))

    def make_with_keywords(self) -> None:
        """Carry out NEWOBJ_EX."""
        kind, _arguments, _keywords = self.pop(3)
        self.stack.append(torch_objects.made(kind))

    def build(self) -> None:
        """Carry out BUILD: what is set on a dict or a tensor beside its content is left out."""
        (state,) = self.pop(1)
        if isinstance(self.stack[-1], Instance):
            self.stack[-1].state = state

    def refer(self) -> None:
        """Carry out BINPERSID."""
        (persistent,) = self.pop(1)
        storage = torch_objects.storage(persistent)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage is described in two ways")
        self.stack.append(storage)

    def _extend(self, values: Sequence[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif not isinstance(self.stack[-1], Instance):
            raise TypeError("only a list can be added to")

    def _fill(self, pairs: Sequence[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                if type(key) in (str, int):  # hashing a tuple of tuples of … can crash
                    self.stack[-1][key] = value
        elif not isinstance(self.stack[-1], Instance):
            raise TypeError("only a dict has items")


_PUSH_ARGUMENT = frozenset(
    {
        "BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINSTRING",
        "BINUNICODE", "BINUNICODE8", "BYTEARRAY8", "FLOAT", "INT", "LONG", "LONG1", "LONG4",
        "SHORT_BINBYTES", "SHORT_BINSTRING", "SHORT_BINUNICODE", "STRING", "UNICODE",
    }
)  # fmt: skip
_PUSH_CONSTANT: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Instance("builtins.set"),
}
_WRITE_MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_READ_MEMO = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLE_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NAME = frozenset({"GLOBAL"})
_IGNORE = frozenset({"PROTO", "FRAME", "STOP"})
_STEPS: Mapping[str, Callable[[_Machine], None]] = {
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
    "SETITEMS": _Machine.set_items,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.make,
    "NEWOBJ_EX": _Machine.make_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}
