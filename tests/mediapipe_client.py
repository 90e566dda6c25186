"""MediaPipe Tasks' ImageClassifier in a process of its own: an app that knows nothing of edgefer.

Usage: python mediapipe_client.py FOLDER

For each FOLDER/NAME.tflite, classifies the pictures of FOLDER/NAME.npy, uint8 (n, h, w, 3), and
prints a JSON object by NAME: {"labels": […], "scores": [[…], …]} in the order of the model's
output, or {"error": "…"} where MediaPipe does not take the model.
"""

import gc
import json
import sys
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def classify(model: Path) -> dict[str, Any]:
    """Return what MediaPipe makes of a model's pictures."""
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(model)), max_results=-1
    )
    answers = []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for pixels in np.load(model.with_suffix(".npy")):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            (head,) = classifier.classify(image).classifications
            answers.append(sorted(head.categories, key=lambda category: category.index))
    return {
        "labels": [category.category_name for category in answers[0]],
        "scores": [[category.score for category in answer] for answer in answers],
    }


def main() -> None:
    """Classify with every model of the folder."""
    # A classifier that failed closes itself once more when it is collected, which can happen
    # while the next one starts, and then waits for it for ever.
    gc.disable()
    found: dict[str, dict[str, Any]] = {}
    for model in sorted(Path(sys.argv[1]).glob("*.tflite")):
        try:
            found[model.stem] = classify(model)
        except (ValueError, RuntimeError, NotImplementedError, FileNotFoundError) as exc:
            found[model.stem] = {"error": str(exc)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
