"""Runs in a child: classifies faces on one core for as long as the parent sends them.

A task is (path, spec, images); the answer is float32 (n, classes), or one line on what is wrong.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import cv2

from edgefer.data.preprocessing import Float32Array, UInt8Array
from edgefer.evaluation.inference import classify
from edgefer.models.spec import ModelSpec
from edgefer.runtime import TfliteModel, one_line, open_model

Task = tuple[Path, ModelSpec, Sequence[UInt8Array]]


def main() -> None:
    """Serve the connection whose file descriptor is the argument, until the parent is gone."""
    cv2.setNumThreads(1)
    connection = Connection(int(sys.argv[1]))
    model: TfliteModel | None = None
    while True:
        try:
            path, spec, images = connection.recv()
        except EOFError:
            return
        try:
            if model is None or model.path != path:
                model = open_model(path, checked=True)
            answer: Float32Array | str = classify(model, spec, images)
        except Exception as exc:  # noqa: BLE001 the parent raises it
            answer = one_line(exc).removeprefix(f"{path}: ")
        connection.send(answer)


if __name__ == "__main__":
    main()
