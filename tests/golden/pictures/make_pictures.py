"""Write one picture in many ways, with Pillow 13: python make_pictures.py FACE.png."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ORIENTATION = 0x112
SIDEWAYS = 6
"""Turned clockwise by a quarter when it is shown."""

face = Image.open(sys.argv[1]).convert("L").resize((150, 150), Image.Resampling.BICUBIC)
upright = Image.new("RGB", (300, 220), (110, 130, 150))
upright.paste(face, (30, 40))
upright.save(HERE / "upright.png", optimize=True)

exif = Image.Exif()
exif[ORIENTATION] = SIDEWAYS
turned = upright.transpose(Image.Transpose.ROTATE_90)
turned.save(HERE / "sideways.jpg", exif=exif, quality=90)
turned.save(HERE / "sideways.png", exif=exif, optimize=True)
upright.convert("CMYK").save(HERE / "cmyk.jpg", quality=90)
upright.convert("L").save(HERE / "gray.png", optimize=True)
upright.quantize(64).save(HERE / "palette.png", optimize=True)
with_alpha = upright.convert("RGBA")
with_alpha.putalpha(200)
with_alpha.save(HERE / "alpha.png", optimize=True)
deep = np.asarray(upright.convert("L")).astype(np.uint16) * 257
Image.fromarray(deep).save(HERE / "sixteen-bit.png", optimize=True)
upright.save(HERE / "progressive.jpg", progressive=True, quality=90)
upright.save(HERE / "lossy.webp", quality=90)
