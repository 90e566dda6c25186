"""Draw the bundled faces from FER+: python calibration_data/draw.py FERPLUS.npz.

The same file and seed give the same faces, whatever the versions of Python and numpy: the draw
goes by hashes, not by a random generator.
"""

import argparse
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgefer.data.disjoint import content_hash
from edgefer.data.ferplus import FerPlusArrays, read_arrays
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.protocols import EMOTIONS, MAJORITY, label_votes
from edgefer.data.splits import Split
from edgefer.errors import EdgeferError
from edgefer.files import write_bytes, write_text

SEED = 2013
CALIBRATION_FACES = 300
EVALUATION_FACES = 1200


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face that may be drawn."""

    name: str
    label: str
    image: UInt8Array


def candidates(arrays: FerPlusArrays, elsewhere: Collection[str]) -> list[Face]:
    """Return the faces that count under `majority`, once each, that are not `elsewhere`.

    FER2013 holds the same image several times, within a split and across them; `elsewhere` are
    the content hashes of the other splits.
    """
    labelled = label_votes(arrays.votes, MAJORITY)
    seen = set(elsewhere)
    faces = []
    for index, label in zip(labelled.kept, labelled.labels, strict=True):
        key = content_hash(arrays.images[index])
        if key not in seen:
            seen.add(key)
            name = str(arrays.names[index])
            faces.append(Face(name=name, label=EMOTIONS[label], image=arrays.images[index]))
    return faces


def quotas(
    weights: Mapping[str, int], available: Mapping[str, int], total: int, fewest: int
) -> dict[str, int]:
    """Share `total` faces among the classes in proportion to `weights`.

    No class gets less than `fewest`, or all that are available, and none more than are.
    """
    drawn = {label: min(fewest, count) for label, count in available.items()}
    share = {label: total * weights[label] / sum(weights.values()) for label in drawn}
    while sum(drawn.values()) < min(total, sum(available.values())):
        missing = {
            label: share[label] - drawn[label] for label in drawn if drawn[label] < available[label]
        }
        drawn[max(missing, key=missing.__getitem__)] += 1
    return drawn


def draw(faces: Sequence[Face], weights: Mapping[str, int], total: int, fewest: int) -> list[Face]:
    """Draw `total` faces, class by class, by the order of their names' hashes."""
    shuffled = sorted(
        faces, key=lambda face: hashlib.sha256(f"{SEED}:{face.name}".encode()).digest()
    )
    by_class = {
        label: [face for face in shuffled if face.label == label]
        for label in sorted({face.label for face in faces})
    }
    available = {label: len(group) for label, group in by_class.items()}
    counts = quotas(weights, available, total, fewest)
    return [face for label, group in by_class.items() for face in group[: counts[label]]]


def class_shares(arrays: FerPlusArrays) -> Counter[str]:
    """Count a split's faces a class, under `majority`, duplicates included."""
    return Counter(EMOTIONS[label] for label in label_votes(arrays.votes, MAJORITY).labels)


def write_faces(folder: Path, faces: Sequence[Face]) -> dict[str, str]:
    """Write the faces a folder a class; return each file's SHA-256 by its path in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    hashes = {}
    for face in faces:
        content = to_png(face.image)
        write_bytes(folder / face.label / face.name, content)
        hashes[f"{face.label}/{face.name}"] = hashlib.sha256(content).hexdigest()
    return dict(sorted(hashes.items()))


def to_png(image: UInt8Array) -> bytes:
    """Encode a gray image at the best compression."""
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    parameters += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]
    _, content = cv2.imencode(".png", image, parameters)
    return content.tobytes()


def provenance(source: Path, folders: Mapping[str, Mapping[str, str]]) -> str:
    """Describe the draw as JSON; `folders` hold each file's SHA-256."""
    return json.dumps(
        {
            "schema_version": 1,
            "images": "FER2013 (ICML 2013, Challenges in Representation Learning)",
            "labels": "FER+ (github.com/microsoft/FERPlus)",
            "source_file": source.name,
            "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "protocol": str(MAJORITY),
            "seed": SEED,
            "splits": {"calibration": "train", "evaluation": "test"},
            "counts": {folder: class_counts(files) for folder, files in folders.items()},
            "sha256": folders,
        },
        indent=1,
    )


def class_counts(files: Mapping[str, str]) -> dict[str, int]:
    """Count the files a class; their keys are `class/name`."""
    return dict(Counter(path.split("/")[0] for path in files))


def draw_all(source: Path, output: Path) -> None:
    """Draw both folders from FER+'s arrays and write them, with provenance.json, to `output`."""
    splits = {split: read_arrays(source, split=split) for split in Split}
    hashes = {
        split: {content_hash(image) for image in arrays.images} for split, arrays in splits.items()
    }
    train = candidates(splits[Split.TRAIN], hashes[Split.VALID] | hashes[Split.TEST])
    test = candidates(splits[Split.TEST], hashes[Split.TRAIN] | hashes[Split.VALID])
    drawn = {
        "calibration": draw(train, class_shares(splits[Split.TRAIN]), CALIBRATION_FACES, 1),
        "evaluation": draw(test, class_shares(splits[Split.TEST]), EVALUATION_FACES, 10),
    }
    folders = {name: write_faces(output / name, faces) for name, faces in drawn.items()}
    write_text(output / "provenance.json", provenance(source, folders) + "\n")


def main() -> None:
    """Run the draw from the command line."""
    parser = argparse.ArgumentParser(description="Draw the bundled faces from FER+.")
    parser.add_argument("source", type=Path, metavar="FERPLUS.npz")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    try:
        draw_all(options.source, options.output)
    except EdgeferError as exc:
        parser.error(str(exc))


if __name__ == "__main__":
    main()
