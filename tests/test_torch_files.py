"""Torch's checkpoints are read without torch, and nothing in them is ever executed."""

import contextlib
import io
import pickle
import pickletools
import random
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgefer.errors import ModelError
from edgefer.models.formats import torch_arrays, torch_files, torch_pickle
from edgefer.models.formats.torch_objects import UnreadableError

GOLDEN = Path(__file__).parent / "golden" / "torch"
BOTH_FORMATS = ("", "-legacy")
SHAPES = {
    "conv.bias": (2,),
    "conv.weight": (2, 1, 3, 3),
    "head.bias": (3,),
    "head.weight": (3, 2),
    "norm.bias": (2,),
    "norm.num_batches_tracked": (),
    "norm.running_mean": (2,),
    "norm.running_var": (2,),
    "norm.weight": (2,),
    "tied.bias": (3,),
    "tied.weight": (3, 2),
}


def counted(*shape: int) -> npt.NDArray[np.float32]:
    return (np.arange(np.prod(shape)) / 4).reshape(shape).astype(np.float32)


def weights() -> dict[str, npt.NDArray[Any]]:
    """Return the state dict as golden/torch/make_files.py fills it, one name after the other."""
    found: dict[str, npt.NDArray[Any]] = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        found[name] = counted(*shape) + number
    batches = found["norm.num_batches_tracked"]
    found["norm.num_batches_tracked"] = batches.astype(np.int64)
    found["head.weight"] = found["tied.weight"]  # one storage, filled last under this name
    return found


def problem(path: Path) -> str:
    """Read a bad file; return the one line without the file's name."""
    with pytest.raises(ModelError) as caught:
        torch_files.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def require_equal(
    found: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]
) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
        assert found[name].dtype == np.asarray(values).dtype, name


@pytest.mark.parametrize("suffix", BOTH_FORMATS)
def test_a_state_dict_is_read_by_name(suffix: str) -> None:
    require_equal(torch_files.read(GOLDEN / f"state_dict{suffix}.pth"), weights())


@pytest.mark.parametrize("suffix", BOTH_FORMATS)
def test_every_type_and_layout_of_tensor_is_read(suffix: str) -> None:
    base = counted(4, 6)
    floats = ("float64", "float16", "bfloat16")
    kept = ("int64", "int32", "int16", "int8", "uint8", "bool")
    expected: dict[str, npt.NDArray[Any]] = {
        **{f"types.{name}": counted(2, 3) for name in floats},
        **{f"types.{name}": counted(2, 3).astype(name) for name in kept},
        "views.transposed": base.T,
        "views.columns": base[1:, 2::2],
        "views.expanded": np.repeat(counted(3, 1), 4, axis=1),
        "views.scalar": np.array(2.5, np.float32),
        "views.empty": np.zeros((0, 3), np.float32),
        "parameter": counted(3),
        "buffer": counted(2),
        "list.0": counted(2),
        "list.1": counted(1),
        "not finite": np.array([np.nan, np.inf, -np.inf], np.float32),
    }
    require_equal(torch_files.read(GOLDEN / f"everything{suffix}.pth"), expected)


@pytest.mark.parametrize("suffix", BOTH_FORMATS)
def test_of_a_training_s_checkpoint_the_tensors_are_read(suffix: str) -> None:
    """Epoch, settings, schedule, a numpy number and a device beside them are no tensors."""
    found = torch_files.read(GOLDEN / f"training{suffix}.pth")
    prefix = "state_dict.module."
    state = {
        name.removeprefix(prefix): values
        for name, values in found.items()
        if name.startswith(prefix)
    }
    require_equal(state, weights())
    others = {name for name in found if not name.startswith(prefix)}
    assert others == {
        f"optimizer.state.{number}.{name}"
        for number in (4, 5)
        for name in ("step", "exp_avg", "exp_avg_sq")
    }


@pytest.mark.parametrize("suffix", BOTH_FORMATS)
def test_a_tensor_on_its_own_is_called_tensor(suffix: str) -> None:
    require_equal(torch_files.read(GOLDEN / f"tensor{suffix}.pth"), {"tensor": counted(2, 2)})


def test_arrays_of_one_storage_are_independent() -> None:
    found = torch_files.read(GOLDEN / "state_dict.pth")
    found["head.weight"][:] = -1
    np.testing.assert_array_equal(found["tied.weight"], weights()["tied.weight"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("module", "has a whole module in it (__main__.Small), which only its own code can open; "
         'save its weights instead: torch.save(model.state_dict(), "weights.pth")'),
        ("script", "is a TorchScript program; "
         'save its weights instead: torch.save(model.state_dict(), "weights.pth")'),
        ("exported", "is an exported program; give it the ending .pt2 to convert it"),
        ("sparse", "has a tensor of a kind that is not supported (sparse_tensor)"),
        ("complex", "has tensors of a type that is not supported (ComplexFloatStorage)"),
        ("no-tensors", "has no tensors in it; "
         'save its weights instead: torch.save(model.state_dict(), "weights.pth")'),
        ("plain-pickle", "is a pickle, but none of torch.save; nothing was executed"),
    ],
)  # fmt: skip
def test_what_is_no_state_dict_is_told_in_one_line(name: str, expected: str) -> None:
    assert problem(GOLDEN / f"{name}.pth") == expected


def test_code_in_a_pickle_is_named_and_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert problem(GOLDEN / "code.pth") == (
        "has code in it, a call of posix.system; nothing was executed, "
        "ask its authors for a state dict"
    )
    assert list(tmp_path.iterdir()) == []


def legacy(path: Path, described: bytes, keys: list[str], data: bytes = b"") -> Path:
    """Write a file in the old format around a pickle made by hand."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    before = b"".join(pickle.dumps(part, 2) for part in head)
    path.write_bytes(before + described + pickle.dumps(keys, 2) + data)
    return path


def zipped(
    path: Path, described: bytes, storages: Mapping[str, bytes], method: int = zipfile.ZIP_STORED
) -> Path:
    """Write a file in the new format around a pickle made by hand."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", described)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def tensor(
    *,
    count: int = 4,
    offset: int = 0,
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    kind: str = "FloatStorage",
    what: str = "storage",
) -> bytes:
    """Return the opcodes of one tensor: what torch writes, with numbers of one's own."""
    identity = b"(" + pushed(what) + name(f"torch\n{kind}") + pushed("0") + pushed("cpu")
    return (
        name("torch._utils\n_rebuild_tensor_v2")
        + b"(" + identity + pushed(count) + b"tQ"
        + pushed(offset) + pushed(shape) + pushed(strides) + b"\x89"
        + name("collections\nOrderedDict") + b")R" + b"tR"
    )  # fmt: skip


def name(text: str) -> bytes:
    return b"c" + text.encode() + b"\n"


def pushed(value: Any) -> bytes:
    """Return the opcodes that put a plain value on the stack."""
    return b"".join(
        b"" if opcode.name in ("PROTO", "STOP") or "PUT" in opcode.name else part
        for opcode, part in parts(pickle.dumps(value, 2))
    )


def parts(pickled: bytes) -> list[tuple[Any, bytes]]:
    found = list(pickletools.genops(pickled))
    ends = [position for _, _, position in found[1:]] + [len(pickled)]
    return [
        (opcode, pickled[start or 0 : end])
        for (opcode, _, start), end in zip(found, ends, strict=True)
    ]


def named(*tensors: bytes) -> bytes:
    """Return the pickle of a dict of tensors called a, b, …."""
    items = b"".join(pushed(chr(97 + place)) + one for place, one in enumerate(tensors))
    return b"\x80\x02}(" + items + b"u."


FOUR = counted(4).tobytes()


def test_the_pickles_made_by_hand_are_as_torch_writes_them(tmp_path: Path) -> None:
    """The tests of bad files below are worth what this good one is."""
    found = torch_files.read(zipped(tmp_path / "a.pth", named(tensor()), {"0": FOUR}))
    require_equal(found, {"a": counted(4)})
    data = (4).to_bytes(8, "little") + FOUR
    found = torch_files.read(legacy(tmp_path / "b.pth", named(tensor()), ["0"], data))
    require_equal(found, {"a": counted(4)})


@pytest.mark.parametrize(
    ("opcodes", "expected"),
    [
        (tensor(offset=1), "a reaches beyond its storage"),
        (tensor(shape=(2, 2), strides=(3, 1)), "a reaches beyond its storage"),
        (tensor(shape=(-4,)), "is damaged"),
        (tensor(strides=(-1,)), "is damaged"),
        (tensor(shape=(2, 2)), "is damaged"),
        (tensor(shape=(2**41,)), "is damaged"),
        (tensor(shape=(2**20, 2**20), strides=(0, 0)), "has tensors of over 1,024 MiB"),
        (tensor(kind="QInt8Storage"), "has tensors of a type that is not supported (QInt8Storage)"),
        (tensor(what="module"), "has a whole module in it"),
        (tensor(what="something"), "is damaged"),
        (name("builtins\neval") + b"(" + pushed("1") + b"tR", "has code in it, a call of builtins"),
        (b"(" + pushed("ls") + b"ios\nsystem\n", "has a pickle with a step that torch never"),
        (b"(" * 100_000 + b"t" * 100_000, "is nested deeper"),
        (b"0" * 5, "is damaged"),
        (b"h\x07", "is damaged"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", BOTH_FORMATS)
def test_a_pickle_that_claims_what_cannot_be_is_refused(
    tmp_path: Path, suffix: str, opcodes: bytes, expected: str
) -> None:
    path = tmp_path / "bad.pth"
    if suffix:
        keys = ["0"] if b"storage" in opcodes else []
        legacy(path, named(opcodes), keys, (4).to_bytes(8, "little") + FOUR)
    else:
        zipped(path, named(opcodes), {"0": FOUR})
    assert problem(path).startswith(expected)


@pytest.mark.parametrize("count", [3, 5, 2**30])
def test_a_storage_that_claims_more_or_less_than_the_file_has_is_refused(
    tmp_path: Path, count: int
) -> None:
    described = named(tensor(count=count, shape=(count,)))
    claimed = count.to_bytes(8, "little") + FOUR[:11]
    bad = [
        zipped(tmp_path / "a.pth", described, {"0": FOUR, "1": b"beside it"}),
        zipped(tmp_path / "b.pth", described, {"1": FOUR}),
        legacy(tmp_path / "c.pth", described, ["0"], claimed),
        legacy(tmp_path / "d.pth", described, ["0"], claimed[1:]),
        legacy(tmp_path / "e.pth", described, [], claimed),
        legacy(tmp_path / "f.pth", described, ["1"], claimed),
    ]
    assert {problem(path) for path in bad} == {"is damaged or cut short; copy or download it again"}


def test_a_pickle_of_endless_steps_is_left_soon(tmp_path: Path) -> None:
    path = zipped(tmp_path / "long.pth", b"\x80\x02" + b"N" * 20_000_000 + b".", {})
    assert problem(path) == "has a pickle of more than 2,000,000 steps in it"


def test_a_dict_that_holds_itself_many_times_over_is_left_soon(tmp_path: Path) -> None:
    """Ten levels of a dict that holds the one below a hundred times: 10^20 names."""
    below = b"}q\x00"
    for level in range(10):
        filled = b"".join(pushed(key) + b"h" + bytes([level]) for key in range(100))
        below += b"0}q" + bytes([level + 1]) + b"(" + filled + b"u"
    path = zipped(tmp_path / "laughs.pth", b"\x80\x02" + below + b".", {})
    assert problem(path) == "is nested deeper, or holds more, than a checkpoint does"


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    inner = b"}" + pushed("b") + tensor() + b"s"
    both = b"\x80\x02}(" + pushed("a") + inner + pushed("a.b") + tensor() + b"u."
    assert problem(zipped(tmp_path / "x.pth", both, {"0": FOUR})) == "has two tensors called a.b"


def test_a_name_from_the_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    call = b"\x8c\x02os\x8c\x06\x1b[2J\nx\x93)R"
    path = zipped(tmp_path / "x.pth", named(call), {})
    assert "a call of os.?[2J?x;" in problem(path)


def test_a_packed_archive_is_refused_before_it_expands(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.pth", named(tensor()), {"0": FOUR}, zipfile.ZIP_DEFLATED)
    assert problem(path) == "has a part that torch never writes (data.pkl)"


def test_a_file_of_two_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    started = time.monotonic()
    assert problem(path) == (
        "has 2.0 GiB; a checkpoint of at most 1 GiB is read: "
        'save its weights instead: torch.save(model.state_dict(), "weights.pth")'
    )
    assert time.monotonic() - started < 60


def test_a_path_that_leads_to_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.pth") == "does not exist; check the path"
    assert problem(tmp_path) == "is a folder; give a checkpoint file"
    (tmp_path / "empty.pth").write_bytes(b"")
    assert problem(tmp_path / "empty.pth") == "is empty; copy or download it again"
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert problem(tmp_path / "text.pth") == (
        "is not a checkpoint that torch.save wrote, whatever its name"
    )
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("photo.jpg", b"")
    assert problem(tmp_path / "other.pth") == (
        "is a zip without torch's data.pkl; give a file of torch.save"
    )


FUZZED = (
    "state_dict", "state_dict-legacy", "everything", "everything-legacy", "training-legacy",
)  # fmt: skip


@pytest.mark.parametrize("stem", FUZZED)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, stem: str) -> None:
    whole = (GOLDEN / f"{stem}.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        problem(path)


@pytest.mark.parametrize("stem", FUZZED)
def test_a_file_with_changed_bytes_is_refused_or_read(tmp_path: Path, stem: str) -> None:
    whole = (GOLDEN / f"{stem}.pth").read_bytes()
    chance = random.Random(stem)
    path = tmp_path / "changed.pth"
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            place = chance.randrange(len(changed))
            changed[place] = chance.choice((changed[place] ^ 1 << chance.randrange(8), 0, 255))
        path.write_bytes(changed)
        with contextlib.suppress(ModelError):
            found = torch_files.read(path)
            assert all(isinstance(values, np.ndarray) for values in found.values())


def test_pickles_of_random_steps_are_refused_or_read() -> None:
    """Any order of the steps that exist, with values on the stack for them to work on."""
    chance = random.Random(5)
    pieces = [
        b"(", b"t", b"]", b"}", b")", b"l", b"d", b"a", b"e", b"s", b"u", b"R", b"\x81", b"\x92",
        b"b", b"Q", b"2", b"0", b"1", b"\x93", b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90",
        b"\x94", b"h\x00", b"q\x00", b"N", b"\x88", b"K\x02", b"\x8a\x08" + b"\x7f" * 8,
        b"X\x03\x00\x00\x00abc", name("collections\nOrderedDict"), name("torch\nFloatStorage"),
        name("torch._utils\n_rebuild_tensor_v2"), name("torch._tensor\n_rebuild_from_type_v2"),
        name("torch\nSize"), b"(" + pushed("storage") + name("torch\nFloatStorage"), tensor(),
    ]  # fmt: skip
    for _ in range(20_000):
        steps = b"".join(chance.choices(pieces, k=chance.randrange(2, 30)))
        with contextlib.suppress(UnreadableError):
            pickled = torch_pickle.load(io.BytesIO(b"\x80\x04" + steps + b"."))
            torch_arrays.arrays(pickled.value, lambda _: FOUR, present_bytes=16)
