"""`edgefer ship`: what is in a bundle, and where it may be written."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import QUADRANT, STATED, ship_quadrant
from commands import edgefer
from face_pictures import picture, write_picture

from edgefer import __version__, metadata
from edgefer.errors import DataError, ModelError, OutputError, UsageError
from edgefer.models.contract import StatedContract
from edgefer.models.spec import ModelSpec
from edgefer.runtime import open_model
from edgefer.shipping import bundle_folder, golden_pictures
from edgefer.shipping.bundle import Bundle, make_bundle, open_shipped
from edgefer.shipping.contract import Contract
from edgefer.shipping.contract_text import byte_offset, plain
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.manifest import MANIFEST, sha256
from edgefer.shipping.targets import LINUX, TARGETS, Target
from edgefer.shipping.template_files import fill_in, target_files
from edgefer.tensor import Tensor

EVERYWHERE = {
    "README.md",
    "contract.md",
    "edgefer-bundle.json",
    "golden/golden.json",
    "model/contract.json",
    "model/face-detector-LICENSE.txt",
    "model/face-detector.tflite",
    "model/labels.txt",
    "model/model.tflite",
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Return a bundle in memory."""
    return make_bundle(open_shipped(QUADRANT, STATED), LINUX, golden_pictures.bundled())


@pytest.fixture(scope="module")
def golden(bundle: Bundle) -> Any:
    return json.loads(bundle.files["golden/golden.json"])


def described(folder: Path, **changes: Any) -> Path:
    """Write the quadrant model with metadata of its own."""
    spec = ModelSpec(
        **{
            "name": "quadrant",
            "labels": ("anger", "happiness", "neutral", "surprise"),
            "input_size": 16,
            **changes,
        }
    )
    path = folder / "described.tflite"
    path.write_bytes(metadata.write(QUADRANT.read_bytes(), spec, {}))
    return path


def text_of(folder: Path, **changes: Any) -> str:
    """Return the contract.md of a model with metadata."""
    shipped = open_shipped(described(folder, **changes), StatedContract())
    return make_bundle(shipped, LINUX, golden_pictures.bundled()).files["contract.md"].decode()


# What is in it


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_target_has_the_common_files_and_a_readme_of_five_points(target: Target) -> None:
    files = make_bundle(open_shipped(QUADRANT, STATED), target, golden_pictures.bundled()).files
    assert set(files) >= EVERYWHERE
    assert not [name for name in files if name.endswith(".jinja")]
    readme = files["README.md"].decode()
    assert len([line for line in readme.splitlines() if line and line[0] != "#"]) == 5
    assert "contract.md" in readme


def test_the_list_has_the_hash_of_every_other_file(bundle: Bundle) -> None:
    manifest = json.loads(bundle.files[MANIFEST])
    assert (manifest["format"], manifest["target"]) == (1, "linux")
    assert manifest["edgefer"] == __version__
    others = {name: content for name, content in bundle.files.items() if name != MANIFEST}
    assert manifest["files"] == {name: sha256(content) for name, content in others.items()}


def test_the_model_is_shipped_as_it_is_with_its_labels(bundle: Bundle) -> None:
    assert bundle.files["model/model.tflite"] == QUADRANT.read_bytes()
    assert bundle.files["model/labels.txt"] == b"anger\nhappiness\nneutral\nsurprise"


def test_contract_json_says_what_code_needs(bundle: Bundle) -> None:
    model = open_model(QUADRANT)
    assert json.loads(bundle.files["model/contract.json"]) == {
        "format": 1,
        "name": "int8",
        "version": "",
        "input": {
            "size": 16,
            "channels": 3,
            "colour": "rgb",
            "type": "int8",
            "scale": model.input.scale,
            "zero_point": -1,
            "mean": [127.5, 127.5, 127.5],
            "std": [127.5, 127.5, 127.5],
        },
        "output": {
            "type": "int8",
            "scale": model.output.scale,
            "zero_point": model.output.zero_point,
        },
        "labels": ["anger", "happiness", "neutral", "surprise"],
    }


def test_contract_md_states_terms_use_and_law(tmp_path: Path) -> None:
    text = text_of(tmp_path, licence="CC0", training_data="noise", author="Ann | Bob")
    assert "| values | q = pixel − 128 |" in text
    assert "| model | CC0 |" in text
    assert "| author | Ann \\| Bob |" in text
    assert "| trained on | noise |" in text
    for article in ("2024/1689", "Art. 5(1)(f)", "Annex III, point 1(c)", "Art. 50(3)"):
        assert article in text
    assert "not legal advice" in text
    assert "{" not in text


def test_contract_md_says_what_the_model_does_not() -> None:
    shipped = open_shipped(QUADRANT, STATED)
    text = make_bundle(shipped, LINUX, golden_pictures.bundled()).files["contract.md"].decode()
    assert text.count("not stated in its file") == 3


def test_a_contract_in_which_the_pixel_is_not_fed_as_it_is_gives_the_formula(
    tmp_path: Path,
) -> None:
    text = text_of(tmp_path, mean=(120.0, 110.0, 100.0), std=(60.0, 60.0, 60.0))
    assert "| values | (pixel − mean) / std, quantized |" in text
    assert "| mean | 120.0, 110.0, 100.0 |" in text
    assert "q     = floor(value / scale + 0.501) + zero_point" in text


def tensor(dtype: type, scale: float, zero_point: int, channels: int = 3) -> Tensor:
    shape = (1, 16, 16, channels)
    return Tensor(
        name="", index=0, shape=shape, declared_shape=shape, dtype=np.dtype(dtype),
        scale=scale, zero_point=zero_point,
    )  # fmt: skip


def test_the_way_from_pixel_to_byte_is_found_from_the_contract(quadrant_spec: ModelSpec) -> None:
    assert byte_offset(quadrant_spec, tensor(np.int8, 1 / 127.5, -1)) == -128
    assert byte_offset(quadrant_spec, tensor(np.uint8, 1 / 127.5, 127)) == 0
    assert byte_offset(quadrant_spec, tensor(np.int8, 1 / 100, 0)) is None
    assert byte_offset(quadrant_spec, tensor(np.float32, 0.0, 0)) is None


def test_text_of_a_model_cannot_break_the_contract() -> None:
    assert plain("a|b\n# c <script> `x` \x1b[2J") == "a\\|b # c \\<script> \\`x\\` [2J"


# Golden files


def test_golden_faces_are_of_every_kind_of_size(golden: Any) -> None:
    sizes = [(face["width"], face["height"]) for face in golden["faces"]]
    assert (16, 16) in sizes
    assert (32, 32) in sizes
    assert any(width > 16 and width % 2 for width, _ in sizes)
    assert any(width < 16 for width, _ in sizes)
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


def test_golden_files_have_the_sizes_that_golden_json_says(bundle: Bundle, golden: Any) -> None:
    def size(name: str) -> int:
        return len(bundle.files[f"golden/{name}"])

    for picture_of in (*golden["faces"], *golden["scenes"]):
        assert size(picture_of["picture"]) == 3 * picture_of["width"] * picture_of["height"]
    answers = [*golden["faces"], *(face for scene in golden["scenes"] for face in scene["faces"])]
    assert {size(answer["input"]) for answer in answers} == {16 * 16 * 3}
    assert {size(answer["output"]) for answer in answers} == {4}
    for frame in golden["frames"]:
        assert size(frame["upright"]) == 3 * frame["upright_width"] * frame["upright_height"]


def test_golden_answers_are_the_models(bundle: Bundle, golden: Any) -> None:
    model = open_model(QUADRANT)
    for face in golden["faces"]:
        values = np.frombuffer(bundle.files[f"golden/{face['input']}"], np.int8)
        scores = model.scores(values.reshape(1, 16, 16, 3))
        assert scores.tobytes() == bundle.files[f"golden/{face['output']}"]
        assert face["probabilities"] == model.output.dequantize(scores)[0].tolist()
        assert face["label"] == bundle.contract.labels[int(scores.argmax())]


def test_golden_frames_have_every_rotation_stride_and_format(golden: Any) -> None:
    frames = golden["frames"]
    for kind in ("yuv_420_888", "bgra"):
        of_kind = [frame for frame in frames if frame["format"] == kind]
        assert {frame["rotation"] for frame in of_kind} == {0, 90, 180, 270}
    planes = [plane for frame in frames for plane in frame.get("planes", [])]
    assert {plane["pixel_stride"] for plane in planes} == {1, 2}
    assert any(frame["width"] % 2 and frame["height"] % 2 for frame in frames)


def test_golden_pictures_are_in_colours_and_the_scenes_hold_faces(golden: Any) -> None:
    assert [len(scene["faces"]) for scene in golden["scenes"]] == [2, 2]
    for face in golden_pictures.bundled().faces:
        assert len({channel.tobytes() for channel in np.moveaxis(face.image, 2, 0)}) == 3


def test_all_golden_files_of_the_bundled_model_are_under_two_megabytes() -> None:
    from edgefer.models import bundled

    made = make_bundle(
        open_shipped(bundled.INT8, StatedContract()), LINUX, golden_pictures.bundled()
    )
    sizes = [len(content) for name, content in made.files.items() if name.startswith("golden/")]
    assert sum(sizes) < 2e6
    assert len({face.label for face in made.golden.faces}) >= 3


def test_golden_pictures_may_be_the_users(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", picture([(40, 40), (440, 200)]))
    write_picture(tmp_path / "b.png", picture([]))
    pictures = golden_pictures.of_folder(tmp_path)
    assert [scene.name for scene in pictures.scenes] == ["a"]
    assert max(pictures.scenes[0].image.shape) == golden_pictures.LONGEST_SIDE
    made = make_bundle(open_shipped(QUADRANT, STATED), LINUX, pictures)
    assert len(made.golden.scenes[0].faces) == 2
    assert "| pictures in `golden/` | yours |" in made.files["contract.md"].decode()


def test_golden_pictures_without_a_face_or_without_a_picture_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images or videos"):
        golden_pictures.of_folder(tmp_path)
    write_picture(tmp_path / "wall.png", picture([]))
    with pytest.raises(DataError, match="no picture in which a face is found"):
        golden_pictures.of_folder(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        golden_pictures.of_folder(tmp_path)


# Templates


def test_markup_is_escaped_and_code_is_not() -> None:
    assert fill_in("{{ name }}", {"name": "<&>"}) == "<&>"
    assert fill_in("{{ name }}", {"name": "<&>"}, markup=True) == "&lt;&amp;&gt;"


def test_a_target_without_files_is_said(tmp_path: Path) -> None:
    unknown = Target(name="toaster", title="toasters", next_steps=())
    with pytest.raises(UsageError, match="nothing to ship to toaster"):
        target_files(unknown, {})


# Models that cannot be shipped


def test_a_checkpoint_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"best\.keras is not a \.tflite file: edgefer convert"):
        open_shipped(tmp_path / "best.keras", StatedContract())


def test_a_model_without_metadata_names_the_options_that_are_missing() -> None:
    with pytest.raises(UsageError, match="give --labels and --mean and --std"):
        open_shipped(QUADRANT, StatedContract())


def test_a_label_count_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 4 outputs, but 2 labels are given for it"):
        open_shipped(QUADRANT, StatedContract(labels=("a", "b"), mean=(0.0,), std=(1.0,)))
    with pytest.raises(ModelError, match="has 4 outputs, but 3 labels are given for it"):
        open_shipped(described(tmp_path, labels=("a", "b", "c")), StatedContract())


def test_a_label_of_two_lines_is_an_error(tmp_path: Path) -> None:
    model = described(tmp_path, labels=("a", "b\nc", "d", "e"))
    with pytest.raises(ModelError, match=r"its label 'b\\nc' is not printable"):
        open_shipped(model, StatedContract())


# Where it may be written


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_bundle_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    bundle = ship_quadrant(tmp_path / "app" / "bundle")
    assert content(tmp_path / "app" / "bundle") == bundle.files
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["bundle"]


def test_scripts_are_executable_and_other_files_are_not(tmp_path: Path) -> None:
    bundle_folder.write(
        tmp_path / "b", {"bin/gradlew": b"#!/bin/sh\n", "README.md": b"# !"}, force=False
    )
    assert (tmp_path / "b/bin/gradlew").stat().st_mode & 0o111
    assert not (tmp_path / "b/README.md").stat().st_mode & 0o111


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    ship_quadrant(tmp_path)
    assert (tmp_path / MANIFEST).exists()


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match="is no bundle of edgefer's: choose another --output"):
            ship_quadrant(tmp_path, force=force)
    assert content(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_bundle_is_replaced_by_force_alone(tmp_path: Path) -> None:
    first = ship_quadrant(tmp_path / "b")
    (tmp_path / "b/README.md").write_text("changed")
    with pytest.raises(UsageError, match="exists: --force replaces the bundle in it"):
        ship_quadrant(tmp_path / "b")
    assert (tmp_path / "b/README.md").read_text() == "changed"
    ship_quadrant(tmp_path / "b", force=True)
    assert content(tmp_path / "b") == first.files
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_force_does_not_take_files_that_were_added(tmp_path: Path) -> None:
    ship_quadrant(tmp_path / "b")
    (tmp_path / "b/model/notes.txt").write_text("mine")
    before = content(tmp_path / "b")
    with pytest.raises(UsageError, match=r"holds model/notes\.txt, which edgefer did not make"):
        ship_quadrant(tmp_path / "b", force=True)
    assert content(tmp_path / "b") == before


def test_force_does_not_trust_a_damaged_list(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": 1}')
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="choose another --output"):
        ship_quadrant(tmp_path, force=True)
    assert (tmp_path / "mine.txt").exists()


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("a file")
    with pytest.raises(OutputError, match="is a file; choose another --output"):
        ship_quadrant(tmp_path / "b", force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        ship_quadrant(tmp_path / "b" / "c")
    assert (tmp_path / "b").read_text() == "a file"


def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    bundle_folder.write(tmp_path / "b", {MANIFEST: _list({}), "a": b""}, force=False)
    (tmp_path / "b/a").unlink()
    before = content(tmp_path / "b")
    with pytest.raises(OutputError, match="cannot be written"):
        bundle_folder.write(tmp_path / "b", {"a": b"file", "a/b": b"below it"}, force=True)
    assert content(tmp_path / "b") == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def _list(files: dict[str, str]) -> bytes:
    return json.dumps({"format": 1, "target": "x", "edgefer": "0", "files": files}).encode()


def test_a_path_that_no_file_can_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        ship_quadrant(tmp_path / ("x" * 300))


# The command


def test_the_command_says_what_it_wrote_and_what_to_do_next(tmp_path: Path) -> None:
    ended = edgefer("ship", described(tmp_path), "--target", "linux", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "described-linux" / "recognise.py").exists()
    assert re.sub(r"\d+ files, \d\.\d MB", "N files", ended.out) == (
        "Written for Linux boards, in one Python file: N files\n"
        "\n"
        "  described-linux/contract.md  every step from a picture to the answer, terms, "
        "intended use\n"
        "  described-linux/model/       the model, its labels, contract.json, the face detector\n"
        "  described-linux/golden/      7 faces, 2 pictures with 4 faces, 9 camera frames, "
        "and what comes out\n"
        "  described-linux/README.md    how to build and test the rest, which is sample code\n"
        "\n"
        "Next\n"
        "\n"
        "  cd described-linux\n"
        "  pip install -r requirements.txt\n"
        "  python recognise.py --check\n"
        "  python recognise.py photo.jpg\n"
    )


def test_json_has_the_contract_and_the_files(tmp_path: Path) -> None:
    ended = edgefer(
        "ship", described(tmp_path), "--target", "linux", "-o", tmp_path / "b", "--json"
    )
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert (shown["schema_version"], shown["target"]) == (1, "linux")
    assert shown["contract"]["input"]["size"] == 16
    assert shown["files"] == {name: len(made) for name, made in content(tmp_path / "b").items()}
    assert shown["golden"] == {"faces": 7, "scenes": 2, "frames": 9}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give a MODEL and a --target, or --verify DIR"),
        ([QUADRANT], 2, "give a MODEL and a --target, or --verify DIR"),
        (["--verify", "b", "--target", "web"], 2, "give nothing but --json with it"),
        ([QUADRANT, "--target", "linux"], 2, "give --labels and --mean and --std"),
        (["patt-lite", "--target", "linux"], 2, "is not a .tflite file: edgefer convert makes one"),
        (["missing.tflite", "--target", "linux"], 4, "missing.tflite: does not exist"),
        (["--verify", "missing"], 4, "missing: does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, arguments: list[object], code: int, message: str
) -> None:
    ended = edgefer("ship", *arguments, cwd=tmp_path)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_contract_survives_its_json(bundle: Bundle) -> None:
    from edgefer.records import from_json

    contract = from_json(Contract, bundle.files["model/contract.json"])
    assert contract == bundle.contract
    assert contract.spec().labels == bundle.contract.labels


def test_shipping_the_same_twice_gives_the_same_bytes(tmp_path: Path, bundle: Bundle) -> None:
    job = ShippingJob(model=QUADRANT, target=LINUX, folder=tmp_path / "b", stated=STATED)
    assert ship(job).files == bundle.files
