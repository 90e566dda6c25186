"""Describe the quadrant model by MediaPipe's own code; run with mediapipe 1.2.2 and flatbuffers.

Nothing of edgefer's has a part in it: both schemas are those that MediaPipe brings.
"""

import io
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as standard
from mediapipe.tasks.metadata import schema_py_generated as schema

HERE = Path(__file__).parent
LABELS = "oben links\noben rechts\nunten links\nunten rechts\n"


def described() -> bytes:
    """Return the metadata, with more in it than an image classifier needs."""
    image = standard.TensorMetadataT(
        name="Bild",
        dimensionNames=["batch", "height", "width", "channel"],
        content=standard.ContentT(
            contentPropertiesType=standard.ContentProperties.ImageProperties,
            contentProperties=standard.ImagePropertiesT(colorSpace=standard.ColorSpaceType.RGB),
        ),
        processUnits=[
            standard.ProcessUnitT(
                optionsType=standard.ProcessUnitOptions.NormalizationOptions,
                options=standard.NormalizationOptionsT(mean=[127.5], std=[127.5]),
            )
        ],
        stats=standard.StatsT(max=[255.0], min=[0.0]),
    )
    scores = standard.TensorMetadataT(
        name="Helligkeit",
        description="Wie wahrscheinlich ein Viertel das hellste ist.",
        content=standard.ContentT(
            contentPropertiesType=standard.ContentProperties.FeatureProperties,
            contentProperties=standard.FeaturePropertiesT(),
        ),
        processUnits=[
            standard.ProcessUnitT(
                optionsType=standard.ProcessUnitOptions.ScoreThresholdingOptions,
                options=standard.ScoreThresholdingOptionsT(globalScoreThreshold=0.1),
            )
        ],
        associatedFiles=[
            standard.AssociatedFileT(
                name="viertel", type=standard.AssociatedFileType.TENSOR_AXIS_LABELS, locale="de"
            )
        ],
    )
    whole = standard.ModelMetadataT(
        name="Viertel",
        description="Das hellste Viertel eines Bildes.",
        version="v7",
        subgraphMetadata=[
            standard.SubGraphMetadataT(inputTensorMetadata=[image], outputTensorMetadata=[scores])
        ],
        author="Jemand",
        license="CC0",
        minParserVersion="1.3.0",
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(whole.Pack(builder), b"M001")
    return bytes(builder.Output())


def main() -> None:
    """Write theirs.tflite."""
    tflite = (HERE.parent / "tflite" / "float32.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(tflite)
    model.buffers.append(schema.BufferT(data=np.frombuffer(described(), np.uint8)))
    model.metadata = [
        schema.MetadataT(name="TFLITE_METADATA", buffer=len(model.buffers) - 1),
    ]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    whole = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo("viertel"), LABELS)
    (HERE / "theirs.tflite").write_bytes(whole.getvalue())


if __name__ == "__main__":
    main()
