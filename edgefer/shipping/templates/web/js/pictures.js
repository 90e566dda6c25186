/** Pixels of photos and camera frames, as `face-input.js` takes them. */

import { PlainError } from "./plain-error.js";

const SMALLEST_SIDE = 8;
const MOST_PIXELS = 2 ** 26;

/** Rows read at a time: a canvas for a whole photo would be too large for some phones. */
const STRIP_ROWS = 512;

/**
 * Decodes an image file: upright, its bytes as they are, without a colour profile's changes.
 *
 * Returns an ImageBitmap, which the caller closes.
 */
export async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new PlainError(`${file.name || "That"} is not an image that this browser can read.`);
  }
  const { width, height } = bitmap;
  if (Math.min(width, height) < SMALLEST_SIDE || width * height > MOST_PIXELS) {
    bitmap.close();
    throw new PlainError(
      `The picture is ${width}×${height} pixels. ` +
        "It takes at least 8 on each side, and at most 64 million in all.",
    );
  }
  return bitmap;
}

/** Reads pixels with one canvas, which is kept from picture to picture. */
export class PixelReader {
  constructor() {
    this.context = document
      .createElement("canvas")
      .getContext("2d", { alpha: false, willReadFrequently: true });
  }

  /** Returns the pixels of a source: an ImageBitmap, or a video's present frame. */
  read(source, width, height) {
    const pixels = new Uint8ClampedArray(width * height * 4);
    for (let top = 0; top < height; top += STRIP_ROWS) {
      const rows = Math.min(STRIP_ROWS, height - top);
      this.#fit(width, rows);
      this.context.drawImage(source, 0, top, width, rows, 0, 0, width, rows);
      pixels.set(this.context.getImageData(0, 0, width, rows).data, top * width * 4);
    }
    return { pixels, width, height, channels: 4 };
  }

  #fit(width, height) {
    const { canvas } = this.context;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
  }
}
