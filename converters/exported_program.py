"""PyTorch's exported programs (`.pt2`), checked and rebuilt before torch is let near them.

torch.export.load executes what a file brings: pickles (among the sample inputs, for one, where
torch falls back to a full unpickling), compiled libraries, expressions and node names that end in
Python source. So the program is read here as what it should be, a zip of JSON and raw numbers,
and written anew with nothing but the parts that were checked.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgefer.errors import ModelError

MOST_FILE_BYTES = 2**30
MOST_JSON_BYTES = 64 * 2**20

EXPORT = "torch.export.export(model.eval(), (torch.zeros(1, 3, height, width),))"

_FLOAT32 = 7
_NUMBER_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 12, 13})
"""torch's numbers of uint8, int8 to int64, float16 to float64, bool and bfloat16."""

_OPERATOR = re.compile(r"torch\.ops\.aten\.\w+\.[A-Za-z]\w*", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
_TEXT = re.compile(r"-?[\w.]*", re.ASCII)
_EQUATION = re.compile(r"[\w.,> -]*", re.ASCII)
_RECORD = re.compile(r"(weight|tensor)_[0-9]+", re.ASCII)

_TEXT_ARGUMENTS = frozenset({"approximate", "equation", "padding", "reduce", "rounding_mode"})
"""Arguments that are a choice from a list, or an equation; other texts may name files."""

_VALUES = frozenset(
    {
        "as_bool", "as_bools", "as_device", "as_float", "as_floats", "as_int", "as_ints",
        "as_layout", "as_memory_format", "as_none", "as_optional_tensor", "as_optional_tensors",
        "as_scalar_type", "as_string", "as_tensor", "as_tensors",
    }
)  # fmt: skip
_FREE_SIZES = frozenset(
    {"as_expr", "as_sym_bool", "as_sym_bools", "as_sym_float", "as_sym_floats", "as_sym_int",
     "as_sym_ints"}
)  # fmt: skip

_LEAF = '{"type": null, "context": null, "children_spec": []}'
_TUPLE = '{"type": "builtins.tuple", "context": "null", "children_spec": [%s]}'
_NO_NAMES = '{"type": "builtins.dict", "context": "[]", "children_spec": []}'
_ONE_INPUT = f"[1, {_TUPLE % f'{_TUPLE % _LEAF}, {_NO_NAMES}'}]"
_ONE_OUTPUT = f"[1, {_LEAF}]"


class ProgramError(ValueError):
    """The program cannot be used; the message goes on after the file's name."""


class Layout(StrEnum):
    """The order of an image's axes: batch, channels, height, width, or the channels last."""

    NCHW = "NCHW"
    NHWC = "NHWC"


@dataclass(frozen=True, kw_only=True)
class ExportedProgram:
    """A classifier of one image; `archive` is a .pt2 that holds only what was checked.

    `input_shape` is (1, height, width, channels), whatever the program's own `layout`.
    """

    archive: bytes
    layout: Layout
    input_shape: tuple[int, int, int, int]
    classes: int


def read(path: Path) -> ExportedProgram:
    """Check a file of torch.export.save, and rebuild it; torch is not needed.

    Raises ModelError where it is no such file, holds anything that could run, or is not a
    classifier of one float32 image with fixed sizes and a batch of 1.
    """
    try:
        _require_modest(path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return _rebuilt(_Archive(archive))
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist; check the path") from exc
    except ProgramError as exc:
        raise ModelError(path, str(exc)) from exc
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError) as exc:
        raise ModelError(path, "is no exported program, or is damaged; save it again") from exc
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise ModelError(
            path, "is damaged, or of a torch that is not known; save it again"
        ) from exc
    except IsADirectoryError as exc:
        raise ModelError(path, "is a folder; give a file of torch.export.save") from exc
    except OSError as exc:
        raise ModelError(path, f"cannot be read: {exc.strerror or exc}") from exc


def _require_modest(size_bytes: int) -> None:
    if size_bytes > MOST_FILE_BYTES:
        limit = MOST_FILE_BYTES // 2**30
        raise ProgramError(f"is larger than {limit} GiB, which no model for a phone is")


class _Archive:
    """The zip, whose one folder has the name that the file had when it was saved."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        names = archive.namelist()
        self._folder = names[0].partition("/")[0] if names else ""
        self.names = frozenset(name.removeprefix(f"{self._folder}/") for name in names)
        self._left_bytes = MOST_FILE_BYTES  # a zip can claim the same bytes for many of its files

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return a file; ProgramError where it is missing or packed as torch never does."""
        if name not in self.names:
            raise ProgramError(f"lacks {name}; export it again with torch 2.9 or newer")
        entry = self._archive.getinfo(f"{self._folder}/{name}")
        self._left_bytes -= entry.file_size
        is_modest = entry.file_size <= most_bytes and self._left_bytes >= 0
        if entry.compress_type != zipfile.ZIP_STORED or not is_modest:
            raise ProgramError(f"has a part that torch never writes ({name})")
        return self._archive.read(entry)

    def json(self, name: str) -> Any:
        """Return what a JSON file holds."""
        return json.loads(self.read(name, MOST_JSON_BYTES))


def _rebuilt(archive: _Archive) -> ExportedProgram:
    if "models/model.json" not in archive.names:
        raise ProgramError("holds no exported program; save it with torch.export.save")
    program = archive.json("models/model.json")
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    layout, input_shape = _input(graph, signature)
    classes = _classes(graph, signature)
    parts: dict[str, bytes] = {
        "archive_format": b"pt2",
        "archive_version": archive.read("archive_version", 8),
        "byteorder": archive.read("byteorder", 8),
        ".data/version": b"6\n",
        "data/sample_inputs/model.pt": b"",
        "models/model.json": _packed(_program(program, graph, signature)),
    }
    for kind in ("weights", "constants"):
        config = archive.json(f"data/{kind}/model_{kind}_config.json")["config"]
        entries = {_matching(_PATH, name): _payload(entry) for name, entry in config.items()}
        parts[f"data/{kind}/model_{kind}_config.json"] = _packed({"config": entries})
        for name in sorted({entry["path_name"] for entry in entries.values()}):
            path = f"data/{kind}/{name}"
            parts[path] = archive.read(path, MOST_FILE_BYTES)
    return ExportedProgram(
        archive=_zipped(parts), layout=layout, input_shape=input_shape, classes=classes
    )


def _input(
    graph: Mapping[str, Any], signature: Mapping[str, Any]
) -> tuple[Layout, tuple[int, int, int, int]]:
    """Return how the one image lies, and its shape with the channels last."""
    specs = [spec for spec in signature["input_specs"] if not _is_state(spec)]
    names = [spec["user_input"]["arg"]["as_tensor"]["name"] for spec in specs if _is_image(spec)]
    if len(specs) != 1 or len(names) != 1:
        raise ProgramError(f"takes {len(specs)} inputs; a classifier takes one image, a tensor")
    tensor = graph["tensor_values"][names[0]]
    sizes = _sizes(tensor)
    if len(sizes) != 4 or tensor["dtype"] != _FLOAT32:
        raise ProgramError(f"takes {sizes}, not one image in float32; export model.float()")
    if sizes[0] != 1:
        raise ProgramError(f"has a batch of {sizes[0]}; export it with 1: {EXPORT}")
    if sizes[1] in (1, 3):
        return Layout.NCHW, (1, sizes[2], sizes[3], sizes[1])
    if sizes[3] in (1, 3):
        return Layout.NHWC, (1, sizes[1], sizes[2], sizes[3])
    raise ProgramError(f"takes {sizes}, of which neither axis 1 nor axis 3 is 1 or 3 channels")


def _is_state(spec: Mapping[str, Any]) -> bool:
    return not {"parameter", "buffer", "tensor_constant"}.isdisjoint(spec)


def _is_image(spec: Mapping[str, Any]) -> bool:
    return "as_tensor" in spec.get("user_input", {}).get("arg", {})


def _classes(graph: Mapping[str, Any], signature: Mapping[str, Any]) -> int:
    specs = signature["output_specs"]
    if any("user_output" not in spec for spec in specs):
        raise ProgramError(f"changes its own weights as it runs, as in training: {EXPORT}")
    if len(specs) != 1 or "as_tensor" not in specs[0]["user_output"]["arg"]:
        raise ProgramError(f"gives {len(specs)} outputs; a classifier gives one row of scores")
    tensor = graph["tensor_values"][specs[0]["user_output"]["arg"]["as_tensor"]["name"]]
    sizes = _sizes(tensor)
    if len(sizes) != 2 or sizes[0] != 1 or sizes[1] < 2 or tensor["dtype"] != _FLOAT32:
        raise ProgramError(f"answers with {sizes}; a classifier's scores are (1, classes), float32")
    return sizes[1]


def _sizes(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a tensor's shape; ProgramError where the program leaves a size open."""
    if any("as_int" not in size for size in tensor["sizes"]):
        raise ProgramError(f"leaves its batch or another size open; export it with 1: {EXPORT}")
    return tuple(int(size["as_int"]) for size in tensor["sizes"])


def _program(
    program: Mapping[str, Any], graph: Mapping[str, Any], signature: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the program of its checked parts; what describes calls is written anew."""
    call = {"inputs": [], "outputs": [], "in_spec": _ONE_INPUT, "out_spec": _ONE_OUTPUT}
    return {
        "graph_module": {
            "graph": {
                "inputs": _plain(graph["inputs"]),
                "outputs": _plain(graph["outputs"]),
                "nodes": [_node(node) for node in graph["nodes"]],
                "tensor_values": {
                    _matching(_IDENTIFIER, name): _plain(value)
                    for name, value in graph["tensor_values"].items()
                },
                "sym_int_values": {},
                "sym_bool_values": {},
                "sym_float_values": {},
                "custom_obj_values": {},
                "is_single_tensor_return": False,
            },
            "signature": _plain(signature),
            "module_call_graph": [
                {"fqn": "", "signature": {**call, "forward_arg_names": ["image"]}}
            ],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": _plain(program["opset_version"]),
        "range_constraints": {},
        "schema_version": _plain(program["schema_version"]),
        "verifiers": _plain(program["verifiers"]),
        "torch_version": "",
        "guards_code": [],
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation of torch's own, without what is noted about its source."""
    target = str(node["target"])
    if not _OPERATOR.fullmatch(target):
        name = re.sub(r"[^\w.:]", "?", target)[:80]
        raise ProgramError(f"uses {name}, which is none of torch's own operators (aten)")
    inputs = []
    for given in node["inputs"]:
        text = given["arg"].get("as_string")
        if text is not None and given["name"] not in _TEXT_ARGUMENTS:
            raise ProgramError(f"gives {target} a text that is not expected")
        arg = _plain(given["arg"]) if text is None else {"as_string": _matching(_EQUATION, text)}
        if given["name"] in ("train", "training") and arg == {"as_bool": True}:
            raise ProgramError(f"was exported in training mode; call eval: {EXPORT}")
        name = _matching(_IDENTIFIER, given["name"])
        inputs.append({"name": name, "arg": arg, "kind": int(given["kind"])})
    return {
        "target": target,
        "inputs": inputs,
        "outputs": _plain(node["outputs"]),
        "metadata": {},
        "name": _matching(_IDENTIFIER, node["name"]),
        "is_hop_single_tensor_return": None,
    }


def _payload(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a tensor lies in its record; other objects are pickles, and are refused."""
    name = str(entry["path_name"])
    if entry["use_pickle"] or not _RECORD.fullmatch(name):
        raise ProgramError("holds pickled objects beside its weights; nothing of them was opened")
    meta = _plain(entry["tensor_meta"])
    if meta["dtype"] not in _NUMBER_TYPES:
        raise ProgramError("has weights of a type that is not supported")
    return {
        "path_name": name,
        "is_param": bool(entry["is_param"]),
        "use_pickle": False,
        "tensor_meta": meta,
    }


def _plain(value: Any) -> Any:
    """Return a copy of JSON values that are numbers, names and paths; devices become the CPU."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"type", "index"}:
            return {"type": "cpu", "index": None}
        return {_key(key): _plain_under(key, item) for key, item in value.items()}
    if isinstance(value, str):
        return _matching(_TEXT, value)
    return value


def _plain_under(key: str, value: Any) -> Any:
    return _matching(_IDENTIFIER, value) if key == "name" and value is not None else _plain(value)


def _key(key: str) -> str:
    if key in _FREE_SIZES:
        raise ProgramError(f"leaves its batch or another size open; export it with 1: {EXPORT}")
    if key.startswith("as_") and key not in _VALUES:
        raise ProgramError(f"has a part that is not supported ({_matching(_PATH, key)[:40]})")
    return _matching(_PATH, key)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    """Return a text that fits a pattern: torch writes names into Python source, and runs that."""
    if not pattern.fullmatch(text):
        raise ProgramError("has a name in it that torch never writes; nothing of it was executed")
    return text


def _packed(value: Any) -> bytes:
    return json.dumps(value).encode()


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"model/{name}", content)
    return packed.getvalue()
