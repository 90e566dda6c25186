"""ARBEx out of the state dicts of its authors' PyTorch code, and of POSTER++'s backbones.

A state dict is a mapping of names to arrays. Those of ARBEx's parts (the network, the classifier,
the anchors, the attention) are joined to one: no name stands in two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.errors import ModelError
from edgefer.models import file_contract
from edgefer.models.arbex.entries import Entry, entries, ir_entries, landmark_entries
from edgefer.models.arbex.network import SEEN, Arbex, Balancing
from edgefer.models.arbex.plan import HIDDEN, IR_STAGES
from edgefer.models.formats.state_dicts import States
from edgefer.models.formats.torch_arrays import Array
from edgefer.models.formats.torch_objects import printable
from edgefer.models.network import Shapes

Float32Array = npt.NDArray[np.float32]

LISTED = 12
"""So many names of a kind stand in a message, which has one line."""

PARTS = ("vit", "classifier", "anchors", "self_attn")
"""What the authors' script calls its parts; it saves the first three, each as a file."""

TRUST = "balancing/trust"

_NEEDED_PARTS = (
    "its state dict has to be in the file, or beside vit.*.pth as classifier.*.pth, as the "
    "authors' script saves it"
)

UNUSED = re.compile(
    r"(.*\.)?num_batches_tracked"
    r"|attns\.\d\.index_relative"
    r"|vit\.(patch_embed|CON1|IRLinear[12]|heads)\..*"
    r"|vit\.blocks\.\d\.conv\..*"
)
"""What the authors' modules hold and never use, or count for themselves."""

_NETWORK = r"(?:landmark|ir|convs?|window_module|attns|ffns|embs|vit)\."
_AROUND = re.compile(
    rf"(?:module\.|state_dict\.|vit\.(?=(?:module\.)?{_NETWORK})"
    r"|classifier\.|anchors\.(?=(?:module\.)?anchors)|self_attn\.|attention\.)*"
)
"""What stands before names where the dicts of several parts, or a wrapper, were saved as one."""


def plain(source: Path, states: States) -> dict[str, Array]:
    """Take away what wrappers and joined parts put before the authors' names."""
    found: dict[str, Array] = {}
    for name, values in states.items():
        own = name[_AROUND.match(name).end() :]  # type: ignore[union-attr]
        if own in found:
            raise ModelError(source, f"holds {printable(own)} twice; give one state of each part")
        found[own] = values
    return found


def misfit(states: States) -> str | None:
    """Say what state dicts lack to be an ARBEx."""
    for name in ("landmark.path_1.0.net.0.weight", "ir.input_layer.0.weight"):
        if not any(key.endswith(name) for key in states):
            return f"no {name}"
    return None


def network(
    source: Path, states: States, *, labels: Sequence[str] | None, input_size: int | None
) -> Arbex:
    """Tell which ARBEx the state dicts of its parts, joined to one, hold.

    `states` has the network's, the classifier's, and as far as there are any the anchors' and the
    attention's, which the authors' script does not save: without it their evaluation's balancing
    is taken. Raises ModelError where the classifier is missing, or where labels are or do not
    fit it: no file names the classes, and the authors' code does not have one order for them.
    """
    states = plain(source, states)
    hidden_norm = "net.2.running_mean" in states
    last = f"net.{len(HIDDEN) * (4 if hidden_norm else 3)}.bias"
    if last not in states:
        raise ModelError(source, f"has no classifier ({last}): {_NEEDED_PARTS}")
    try:
        return Arbex(
            labels=_labels(source, states[last].size, labels),
            input_size=2 * SEEN if input_size is None else input_size,
            balancing=_balancing(states),
            anchors=_anchors(states),
            hidden_norm=hidden_norm,
        )
    except ValueError as exc:
        raise ModelError(source, f"does not fit ARBEx: {exc}") from exc


def _labels(source: Path, classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        raise ModelError(
            source,
            f"has {classes} classes and does not name them: give --labels in the order of its "
            "training data",
        )
    if len(given) != classes:
        raise file_contract.label_count_error(source, classes, len(given))
    return tuple(given)


def _balancing(states: States) -> Balancing:
    if "anchors" not in states:
        return Balancing.NONE
    return Balancing.BATCH if "Q.weight" in states else Balancing.ANCHORS


def _anchors(states: States) -> int:
    anchors = states.get("anchors")
    return anchors.shape[1] if anchors is not None and anchors.ndim == 3 else 1


def weights(source: Path, states: States, shapes: Shapes) -> dict[str, Float32Array]:
    """Bring state dicts under our graph's names, `shapes`' keys.

    Trust in the balancing, which no file holds, is what it is at a training's end, 1. Raises
    ModelError that lists what is missing, unexpected, misshapen or not finite.
    """
    found = _placed(source, plain(source, states), entries(shapes), shapes)
    if TRUST in shapes:
        found[TRUST] = np.ones((), np.float32)
    return found


def mobilefacenet(source: Path, states: States, shapes: Shapes) -> dict[str, Float32Array]:
    """Return the landmark branch's weights, of ARBEx's file or of POSTER++'s, to start from."""
    named = _renamed(plain(source, states), "landmark", _POSTER_LANDMARKS)
    return _placed(source, named, list(landmark_entries()), shapes)


def ir50(source: Path, states: States, shapes: Shapes) -> dict[str, Float32Array]:
    """Return the image branch's weights, of ARBEx's, POSTER++'s or ArcFace's file, likewise."""
    named = _renamed(plain(source, states), "ir", _POSTER_FACES)
    return _placed(source, named, list(ir_entries()), shapes)


_BLOCK = {"conv": 0, "bn": 1, "prelu": 2, "conv_dw": 1, "project": 2}
_LANDMARK_PLACES = {
    "conv1": "path_1.0",
    "conv2_dw": "path_1.1",
    "conv_23": "path_1.2",
    "conv_3": "path_1.3",
    "conv_34": "path_2.0",
    "conv_4": "path_2.1",
    "conv_45": "path_3.0",
    "conv_5": "path_3.1",
    "conv_6_sep": "path_3.2",
}


def _landmark_name(match: re.Match[str]) -> str:
    """`conv_3.model.1.conv_dw.bn.weight` is `path_1.3.net.1.net.1.net.1.weight`."""
    place, number, steps, variable = match.groups()
    inside = "".join(f".net.{_BLOCK[step]}" for step in steps.split(".")[:-1])
    return f"{_LANDMARK_PLACES[place]}{f'.net.{number}' if number else ''}{inside}.{variable}"


def _face_name(match: re.Match[str]) -> str:
    """`body2.0.res_layer.1.weight` is `net_2.net.0.res.1.weight`; ArcFace numbers on over all."""
    stage, number, branch, rest = match.groups()
    place = int(number)
    if not stage:
        starts = np.cumsum([0, *(len(parts) for parts in IR_STAGES)])
        stage = str(np.searchsorted(starts, place, side="right"))
        place -= int(starts[int(stage) - 1])
    return f"net_{stage}.net.{place}.{branch}.{rest}"


_Rename = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_POSTER_LANDMARKS: _Rename = (
    re.compile(
        rf"({'|'.join(_LANDMARK_PLACES)})(?:\.model\.(\d+))?\.((?:(?:{'|'.join(_BLOCK)})\.)+)(\w+)"
    ),
    _landmark_name,
)
_POSTER_FACES: _Rename = (re.compile(r"body(\d?)\.(\d+)\.(res|shortcut)_layer\.(.*)"), _face_name)
_HEAD = re.compile(r"(output_layer|net_4)\..*")
"""What a whole face network has beyond a branch."""


def _renamed(states: States, branch: str, rename: _Rename) -> dict[str, Array]:
    pattern, name_of = rename
    found = {}
    for name, values in states.items():
        match = pattern.fullmatch(name)
        own = name_of(match) if match else name
        if not _HEAD.fullmatch(own):
            found[f"{branch}.{own}"] = values
    return found


def _placed(
    source: Path, states: States, wanted: Sequence[Entry], shapes: Shapes
) -> dict[str, Float32Array]:
    """Bring arrays under our names, or list all that does not fit."""
    names = {entry.theirs for entry in wanted}
    fitting = [entry for entry in wanted if entry.theirs in states]
    problems = {
        "missing": [entry.theirs for entry in wanted if entry.theirs not in states],
        "unexpected": [name for name in states if name not in names and not UNUSED.fullmatch(name)],
        "misshapen": [
            f"{entry.theirs} {states[entry.theirs].shape} for {expected}"
            for entry in fitting
            if states[entry.theirs].shape != (expected := entry.shape(shapes[entry.ours]))
        ],
        "no floats": [e.theirs for e in fitting if states[e.theirs].dtype.kind != "f"],
        "NaN or infinite": [e.theirs for e in fitting if not np.isfinite(states[e.theirs]).all()],
    }
    if any(problems.values()):
        said = (f"{what}: {_listed(keys)}" for what, keys in problems.items() if keys)
        raise ModelError(source, f"does not fit ARBEx; {'; '.join(said)}")
    return {
        entry.ours: np.ascontiguousarray(entry.values(states[entry.theirs]), np.float32)
        for entry in wanted
    }


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(printable(key) for key in keys[:LISTED]) + more
