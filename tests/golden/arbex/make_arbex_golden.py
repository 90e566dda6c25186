"""Make ARBEx's golden files by running the authors' code on seeded weights and images.

    git clone https://github.com/takihasan/ARBEx
    git clone https://github.com/Talented-Q/POSTER_V2
    python -m venv torch-cpu && torch-cpu/bin/pip install torch numpy
    torch-cpu/bin/python tests/golden/arbex/make_arbex_golden.py ARBEx POSTER_V2

README.md says what is written. Their script only trains, so the arithmetic of its training and of
its evaluation that lies between their modules is stated here, on what their modules return.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
import arbex_states  # noqa: E402 - lies beside the tests

CLASSES = 8
TEMPERATURE, DELTA, TRUST = 1.7, 2.5, 0.6
"""Of the second head; the first has the authors' defaults, 1, 1 and a training at its end."""


def stand_in_for_timm() -> None:
    """Give their imports what they use of timm: an initializer, and a layer that never runs."""
    layers: Any = types.ModuleType("timm.models.layers")
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    layers.DropPath = lambda _rate: torch.nn.Identity()
    sys.modules["timm"] = types.ModuleType("timm")
    sys.modules["timm.models"] = types.ModuleType("timm.models")
    sys.modules["timm.models.layers"] = layers


def modules() -> dict[str, Any]:
    """Return the authors' modules: one network, and two heads that differ in their options."""
    from models.anchors import Anchors  # type: ignore[import-not-found, unused-ignore]
    from models.attn import SelfAttn  # type: ignore[import-not-found, unused-ignore]
    from models.head import (  # type: ignore[import-not-found, unused-ignore]
        ClassificationHead,
    )
    from models.poster import get_poster  # type: ignore[import-not-found, unused-ignore]

    hidden = [384, 192, 96]
    return {
        "vit": get_poster(),
        "classifier": ClassificationHead(size_hidden=hidden, batch_norm=True),
        "anchors": Anchors(n_classes=CLASSES, n_anchors=1),
        "attention": SelfAttn(n_classes=CLASSES, size_emb=768),
        "classifier_plain": ClassificationHead(size_hidden=hidden, batch_norm=False),
        "anchors_three": Anchors(n_classes=CLASSES, n_anchors=3),
    }


def poster_backbones(checkout: Path) -> dict[str, Any]:
    """Return POSTER++'s backbones, for their names alone."""

    def module(name: str) -> Any:
        spec: Any = importlib.util.spec_from_file_location(name, checkout / "models" / f"{name}.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return {
        "poster_ir50": module("ir50").Backbone(50, 0.0, "ir"),
        "poster_mobilefacenet": module("mobilefacenet").MobileFaceNet([112, 112], 136),
    }


def note_shapes(parts: dict[str, Any]) -> None:
    """Write the names and shapes of the state dicts, an array a line."""
    shapes = {
        part: {name: list(value.shape) for name, value in module.state_dict().items()}
        for part, module in parts.items()
    }
    text = json.dumps(shapes, indent=0).replace("[\n", "[").replace("\n]", "]")
    for digit in "0123456789":
        text = text.replace(f",\n{digit}", f", {digit}")
    (HERE / "shapes.json").write_text(text + "\n", encoding="utf-8")


def fill(parts: dict[str, Any]) -> None:
    """Give the modules their seeded weights."""
    for part, module in parts.items():
        own = module.state_dict()
        seeded = {name: torch.from_numpy(v) for name, v in arbex_states.state(part).items()}
        kept = {name: own[name] for name in own if name.endswith("index_relative")}
        module.load_state_dict({**seeded, **kept})
        module.eval()


def confidence(x: Any) -> Any:
    from utils import normalized_entropy  # type: ignore[import-not-found, unused-ignore]

    return (1 - normalized_entropy(x)).view(-1, 1)


def answers(
    parts: dict[str, Any], e: Any, head: str, temperature: float, delta: float, trust: float
) -> dict[str, Any]:
    """Return what training and what evaluation make of the embeddings of one batch."""
    suffixes = {"first": ("classifier", "anchors"), "second": ("classifier_plain", "anchors_three")}
    classifier, anchors = (parts[name] for name in suffixes[head])
    logits = classifier(e)
    p = torch.softmax(logits / temperature, -1)
    distances = anchors(e)
    flat = torch.softmax(-distances.view(len(e), -1) / delta, -1)
    s = flat.view_as(distances).sum(-1)
    a = parts["attention"](e)
    r = s * confidence(s) + a * confidence(a)
    r = r / (confidence(s) + confidence(a))
    balanced = confidence(p) * p + (1 - confidence(p)) * r
    evaluated = confidence(p) * p + (1 - confidence(p)) * (s * confidence(p))
    return {
        "logits": logits,
        "probabilities": p,
        "attention": a,
        "balanced": (1 - trust) * p + trust * balanced,
        "evaluated": (1 - trust) * p + trust * evaluated,
    }


def losses(parts: dict[str, Any], e: Any, probabilities: Any, balanced: Any) -> Any:
    """Return the three losses of the second head, for labels 0 to 7 in turn."""
    from loss import (  # type: ignore[import-not-found, unused-ignore]
        AnchorLoss,
        CenterLoss,
        DistLoss,
    )

    labels = torch.arange(CLASSES)
    anchors = parts["anchors_three"]
    weights = torch.from_numpy(arbex_states.class_weights())
    return torch.stack(
        [
            DistLoss(weight=weights)(balanced, labels),
            AnchorLoss()(anchors.get_anchors()),
            CenterLoss()(anchors(e), labels, confidence(probabilities)),
        ]
    )


def maps(vit: Any, x: Any) -> dict[str, Any]:
    """Return maps along the way, (1, channels, height, width), thinned out to keep them small."""
    found: dict[str, Any] = {}
    hooks = [
        vit.landmark.register_forward_hook(
            lambda _m, _i, o: found.update({f"landmark{n}": y.clone() for n, y in enumerate(o, 1)})
        ),
        vit.ir.register_forward_hook(
            lambda _m, _i, o: found.update({f"ir{n}": y for n, y in enumerate(o, 1)})
        ),
    ]
    for number, module in enumerate(vit.ffns, 1):
        hooks.append(
            module.register_forward_hook(
                lambda _m, _i, o, n=number: found.update({f"attended{n}": o.permute(0, 3, 1, 2)})
            )
        )
    vit(x)
    for hook in hooks:
        hook.remove()
    return {
        name: y[:, ::7, :: max(1, y.shape[2] // 7), :: max(1, y.shape[3] // 7)]
        for name, y in found.items()
    }


def main() -> None:
    """Write the golden files."""
    sys.path.insert(0, str(Path(sys.argv[1]) / "arbex"))
    stand_in_for_timm()
    torch.manual_seed(0)
    parts = modules()
    note_shapes({**parts, **poster_backbones(Path(sys.argv[2]))})
    fill(parts)
    x = torch.from_numpy(arbex_states.inputs().transpose(0, 3, 1, 2).copy())
    arrays: dict[str, Any] = {}
    with torch.no_grad():
        e = torch.cat([parts["vit"](one[None]) for one in x])
        together = parts["vit"](x)
        arrays["embedding"] = e
        for name, y in maps(parts["vit"], x[:1]).items():
            arrays[f"map_{name}"] = y
        for head, options in (("first", (1.0, 1.0, 1.0)), ("second", (TEMPERATURE, DELTA, TRUST))):
            for batch in (1, 2, 8):
                source = together if batch == 8 else e
                groups = [answers(parts, g, head, *options) for g in source.split(batch)]
                for name in groups[0] if batch == 1 else ("attention", "balanced"):
                    arrays[f"{head}_{name}_{batch}"] = torch.cat([g[name] for g in groups])
        arrays["second_losses"] = losses(
            parts, e, arrays["second_probabilities_1"], arrays["second_balanced_1"]
        )
    np.savez_compressed(HERE / "golden.npz", **{k: v.numpy() for k, v in arrays.items()})


if __name__ == "__main__":
    main()
