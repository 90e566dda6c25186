"""A .pt2 is checked and rebuilt without torch, and nothing that could run gets through."""

import contextlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefer.converters import exported_program
from edgefer.converters.exported_program import EXPORT, Layout
from edgefer.errors import ModelError

GOLDEN = Path(__file__).parent / "golden" / "torch"
TINY = GOLDEN / "tiny.pt2"
MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def problem(path: Path) -> str:
    """Read a bad file; return the one line without the file's name."""
    with pytest.raises(ModelError) as caught:
        exported_program.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def parts(content: bytes) -> dict[str, bytes]:
    """Return what lies in a .pt2 by name, without its folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def written(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(f"tiny/{name}", content)
    return path


def changed(path: Path, name: str, change: Callable[[Any], object]) -> Path:
    """Write tiny.pt2 after `change` on what one of its JSON files holds."""
    contents = parts(TINY.read_bytes())
    value = json.loads(contents[name])
    change(value)
    contents[name] = json.dumps(value).encode()
    return written(path, contents)


@pytest.mark.parametrize(
    ("name", "layout"), [("tiny", Layout.NCHW), ("channels-last", Layout.NHWC)]
)
def test_a_program_says_its_shapes_and_layout(name: str, layout: Layout) -> None:
    program = exported_program.read(GOLDEN / f"{name}.pt2")
    assert program.layout is layout
    assert program.input_shape == (1, 32, 32, 3)
    assert program.classes == 8


def test_what_is_rebuilt_holds_the_same_numbers_and_nothing_of_the_source() -> None:
    before = parts(TINY.read_bytes())
    after = parts(exported_program.read(TINY).archive)
    records = {name for name in before if name.startswith("data/weights/weight_")}
    assert len(records) == 9
    assert {name: after[name] for name in records} == {name: before[name] for name in records}
    assert after["data/sample_inputs/model.pt"] == b""
    assert set(after) <= set(before)
    nodes = json.loads(after[MODEL])["graph_module"]["graph"]["nodes"]
    assert nodes[0]["target"] == "torch.ops.aten.conv2d.default"
    assert all(node["metadata"] == {} for node in nodes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("two-inputs", "takes 2 inputs; a classifier takes one image, a tensor"),
        ("two-outputs", "gives 2 outputs; a classifier gives one row of scores"),
        ("four-channels",
         "takes (1, 4, 32, 32), of which neither axis 1 nor axis 3 is 1 or 3 channels"),
        ("batch-of-2", f"has a batch of 2; export it with 1: {EXPORT}"),
        ("free-batch", f"leaves its batch or another size open; export it with 1: {EXPORT}"),
        ("training", f"was exported in training mode; call eval: {EXPORT}"),
        ("dropout", f"was exported in training mode; call eval: {EXPORT}"),
        ("half", "takes (1, 3, 32, 32), not one image in float32; export model.float()"),
        ("no-classifier", "answers with (3072,); a classifier's scores are (1, classes), float32"),
    ],
)  # fmt: skip
def test_a_program_that_is_no_classifier_of_an_image_is_told_in_one_line(
    name: str, expected: str
) -> None:
    assert problem(GOLDEN / f"{name}.pt2") == expected


def first_node(model: Any) -> Any:
    return model["graph_module"]["graph"]["nodes"][0]


def call_the_shell(model: Any) -> None:
    first_node(model)["target"] = "torch.os.system"


def call_through_an_operator(model: Any) -> None:
    first_node(model)["target"] = "torch.ops.aten.add.Tensor.__globals__"


def name_a_file(model: Any) -> None:
    node = first_node(model)
    node["target"] = "torch.ops.aten.from_file.default"
    node["inputs"][0] = {"name": "filename", "arg": {"as_string": "secrets"}, "kind": 1}


def write_python(model: Any) -> None:
    first_node(model)["name"] = "x\nimport os; os.system('touch executed')\ny"


def write_python_as_output(model: Any) -> None:
    first_node(model)["outputs"][0]["as_tensor"]["name"] = "x = __import__('os')"


def write_python_as_parameter(model: Any) -> None:
    spec = model["graph_module"]["signature"]["input_specs"][0]
    spec["parameter"]["parameter_name"] = "a; import os"


def give_an_expression(model: Any) -> None:
    first_node(model)["inputs"][3]["arg"] = {"as_expr": {"expr_str": "__import__('os')"}}


def give_a_graph(model: Any) -> None:
    first_node(model)["inputs"][3]["arg"] = {"as_graph": {"name": "g", "graph": {}}}


NEVER_WRITTEN = "has a name in it that torch never writes; nothing of it was executed"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (call_the_shell, "uses torch.os.system, which is none of torch's own operators (aten)"),
        (call_through_an_operator, "uses torch.ops.aten.add.Tensor.__globals__, which is none"),
        (name_a_file, "gives torch.ops.aten.from_file.default a text that is not expected"),
        (write_python, NEVER_WRITTEN),
        (write_python_as_output, NEVER_WRITTEN),
        (write_python_as_parameter, NEVER_WRITTEN),
        (give_an_expression, "leaves its batch or another size open"),
        (give_a_graph, "has a part that is not supported (as_graph)"),
    ],
)
def test_what_torch_would_run_when_it_loads_is_refused(
    tmp_path: Path, change: Callable[[Any], object], expected: str
) -> None:
    assert problem(changed(tmp_path / "bad.pt2", MODEL, change)).startswith(expected)


def test_descriptions_of_calls_are_written_anew(tmp_path: Path) -> None:
    """Torch imports the modules that these name."""

    def describe(model: Any) -> None:
        call = model["graph_module"]["module_call_graph"][0]["signature"]
        call["in_spec"] = '[1, {"type": "evil.Enum", "context": "null", "children_spec": []}]'
        model["guards_code"] = ["__import__('os')"]
        model["range_constraints"] = {"__import__('os')": {"min_val": 0, "max_val": 1}}
        first_node(model)["metadata"] = {"source_fn_stack": "evil,torch.os.system"}

    program = exported_program.read(changed(tmp_path / "x.pt2", MODEL, describe))
    assert not any(word in program.archive for word in (b"evil", b"__import__", b"os.system"))


def test_pickles_in_the_file_are_refused_or_left_behind(tmp_path: Path) -> None:
    """Sample inputs are a pickle in every file, which nothing needs; weights need not be one."""
    contents = parts(TINY.read_bytes()) | {
        "data/sample_inputs/model.pt": b"evil",
        "data/aotinductor/model/evil.so": b"evil",
        "extra/evil.txt": b"evil",
        "data/weights/model.pt": b"evil",
    }
    program = exported_program.read(written(tmp_path / "left.pt2", contents))
    assert b"evil" not in program.archive

    def pickled(config: Any) -> None:
        config["config"]["conv.weight"]["use_pickle"] = True

    def opaque(config: Any) -> None:
        config["config"]["thing"] = {"path_name": "opaque_obj_0", "use_pickle": False}

    def outside(config: Any) -> None:
        config["config"]["conv.weight"]["path_name"] = "../../models/model.json"

    pickles = "holds pickled objects beside its weights; nothing of them was opened"
    assert problem(changed(tmp_path / "a.pt2", WEIGHTS, pickled)) == pickles
    assert problem(changed(tmp_path / "b.pt2", CONSTANTS, opaque)) == pickles
    assert problem(changed(tmp_path / "c.pt2", WEIGHTS, outside)) == pickles


def test_weights_of_a_graphics_card_come_to_the_processor(tmp_path: Path) -> None:
    def on_a_card(config: Any) -> None:
        for entry in config["config"].values():
            entry["tensor_meta"]["device"] = {"type": "cuda", "index": 0}

    program = exported_program.read(changed(tmp_path / "x.pt2", WEIGHTS, on_a_card))
    assert b"cuda" not in program.archive


def test_files_of_older_versions_and_other_zips_say_what_to_do(tmp_path: Path) -> None:
    contents = parts(TINY.read_bytes())
    del contents[WEIGHTS]
    assert problem(written(tmp_path / "old.pt2", contents)) == (
        f"lacks {WEIGHTS}; export it again with torch 2.9 or newer"
    )
    nothing = "holds no exported program; save it with torch.export.save"
    assert problem(GOLDEN / "state_dict.pth") == nothing
    damaged = "is no exported program, or is damaged; save it again"
    assert problem(GOLDEN / "tensor-legacy.pth") == damaged
    assert problem(tmp_path / "none.pt2") == "does not exist; check the path"
    assert problem(tmp_path) == "is a folder; give a file of torch.export.save"
    packed = written(tmp_path / "x.pt2", parts(TINY.read_bytes()), zipfile.ZIP_DEFLATED)
    assert problem(packed) == f"has a part that torch never writes ({MODEL})"


def test_a_file_of_two_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.pt2"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    assert problem(path) == "is larger than 1 GiB, which no model for a phone is"


def test_a_zip_that_claims_its_bytes_many_times_over_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exported_program, "MOST_FILE_BYTES", TINY.stat().st_size)
    exported_program.read(TINY)
    monkeypatch.setattr(exported_program, "_require_modest", lambda _: None)
    monkeypatch.setattr(exported_program, "MOST_FILE_BYTES", 12_000)
    assert problem(TINY).startswith("has a part that torch never writes (data/")


def test_a_file_cut_or_with_changed_bytes_is_refused_or_read(tmp_path: Path) -> None:
    whole = TINY.read_bytes()
    path = tmp_path / "changed.pt2"
    for length in range(0, len(whole), 501):
        path.write_bytes(whole[:length])
        problem(path)
    chance = random.Random(3)
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            exported_program.read(path)


def test_a_program_with_changed_values_is_refused_or_read(tmp_path: Path) -> None:
    """A checksum stops the changes above; these come with a right one."""
    contents = parts(TINY.read_bytes())
    chance = random.Random(4)
    odd: list[Any] = [None, -1, 2**70, 1.5, "", "x", [], {}, [[]], True, {"as_int": 2**70}]
    for _ in range(500):
        name = chance.choice((MODEL, MODEL, WEIGHTS, CONSTANTS))
        value = json.loads(contents[name])
        node = value
        while isinstance(node, dict | list) and node:
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if chance.random() < 0.2 or not isinstance(node[key], dict | list):
                node[key] = chance.choice(odd)
                break
            node = node[key]
        path = written(tmp_path / "x.pt2", contents | {name: json.dumps(value).encode()})
        with contextlib.suppress(ModelError):
            exported_program.read(path)
