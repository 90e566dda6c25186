"""A small sample of real faces: some to calibrate with, others to evaluate with.

README.md beside this file says where they come from and on what terms.
"""

from pathlib import Path

from edgefer.data.faces import LabelledFaces
from edgefer.data.folders import read_folder

FOLDER = Path(__file__).parent


def calibration_faces() -> LabelledFaces:
    """Return the 300 faces of FER+'s train split that conversions are calibrated with."""
    return read_folder(FOLDER / "calibration")


def evaluation_faces() -> LabelledFaces:
    """Return the 1,200 faces of FER+'s test split that a drop is measured on."""
    return read_folder(FOLDER / "evaluation")
