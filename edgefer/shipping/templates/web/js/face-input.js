/**
 * From a face's box to what the model is fed, in the arithmetic of contract.md, bit for bit.
 *
 * A picture is { pixels, width, height, channels }: bytes, rows first, 3 channels (RGB) or 4
 * (RGBA as a canvas gives it; alpha is not looked at). A box is { left, top, right, bottom }
 * in whole pixels; right and bottom are the first column and row outside of it.
 */

const TYPES = {
  int8: { array: Int8Array, lowest: -128, highest: 127 },
  uint8: { array: Uint8Array, lowest: 0, highest: 255 },
  int16: { array: Int16Array, lowest: -32768, highest: 32767 },
  float32: { array: Float32Array },
};

/** Takes up float32's error where a value lies exactly between two steps, which goes up. */
const TIE = Math.fround(0.501);

/** Returns the square that a face is cut out by: 7/6 of the box, 1/10 higher, in the picture. */
export function squareAround(box, { width, height }) {
  const longer = Math.max(box.right - box.left, box.bottom - box.top);
  const side = Math.min(Math.max(Math.floor((longer * 7) / 6), 1), width, height);
  const left = Math.floor((box.left + box.right - side) / 2);
  const top = Math.floor((box.top + box.bottom - side) / 2) - Math.floor(longer / 10);
  const inside = {
    left: Math.min(Math.max(left, 0), width - side),
    top: Math.min(Math.max(top, 0), height - side),
  };
  return { ...inside, right: inside.left + side, bottom: inside.top + side };
}

/** Returns the box of a whole picture. */
export function wholeOf({ width, height }) {
  return { left: 0, top: 0, right: width, bottom: height };
}

/**
 * Stretches the part of a picture that lies in `box` to columns × rows: RGB bytes, or gray ones.
 *
 * Bilinear in integers, as OpenCV's INTER_LINEAR does it on bytes.
 */
export function resized(picture, box, columns, rows, colour = "rgb") {
  const source = colour === "gray" ? grayed(picture, box) : picture;
  const { left, top } = colour === "gray" ? { left: 0, top: 0 } : box;
  const channels = colour === "gray" ? 1 : 3;
  const across = columnWeights(box.right - box.left, columns);
  const down = rowWeights(box.bottom - box.top, rows);
  const result = new Uint8Array(columns * rows * channels);
  let position = 0;
  for (const { first: upper, second: lower, a, b } of down) {
    const upperRow = (top + upper) * source.width + left;
    const lowerRow = (top + lower) * source.width + left;
    for (const column of across) {
      for (let channel = 0; channel < channels; channel++) {
        const h = blended(source, upperRow, column, channel);
        const k = blended(source, lowerRow, column, channel);
        result[position++] = (((a * (h >> 4)) >> 16) + ((b * (k >> 4)) >> 16) + 2) >> 2;
      }
    }
  }
  return result;
}

/** Makes model inputs of faces, as a contract.json says. */
export class FaceInput {
  constructor({ size, colour, type, scale, zero_point, mean, std }) {
    if (!(type in TYPES)) throw new Error(`This page cannot feed an input of ${type}.`);
    this.size = size;
    this.colour = colour;
    this.type = TYPES[type];
    this.tables = mean.map((_, channel) =>
      table(this.type, { scale, zeroPoint: zero_point, mean: mean[channel], std: std[channel] }),
    );
  }

  /** Returns the input for the face in a square of a picture, a typed array. */
  of(picture, square) {
    const bytes = resized(picture, square, this.size, this.size, this.colour);
    const values = new this.type.array(bytes.length);
    const channels = this.tables.length;
    for (let position = 0; position < bytes.length; position++) {
      values[position] = this.tables[position % channels][bytes[position]];
    }
    return values;
  }
}

/** Returns the input's value for each of the 256 bytes: normalised, then brought to its type. */
function table({ array, lowest, highest }, { scale, zeroPoint, mean, std }) {
  return Array.from({ length: 256 }, (_, pixel) => {
    const value = Math.fround(Math.fround(pixel - Math.fround(mean)) / Math.fround(std));
    if (array === Float32Array) return value;
    const steps = Math.floor(Math.fround(Math.fround(value / Math.fround(scale)) + TIE));
    return Math.min(Math.max(steps + zeroPoint, lowest), highest);
  });
}

/** Returns, for each target position, two neighbours in the source and their weights of 2048. */
function weights(source, size) {
  return Array.from({ length: size }, (_, position) => {
    const place = Math.fround((position + 0.5) * (source / size) - 0.5);
    const first = Math.floor(place);
    const b = roundHalfToEven(2048 * Math.fround(place - first));
    return { first, second: first + 1, a: 2048 - b, b };
  });
}

function columnWeights(source, size) {
  return weights(source, size).map((column) => {
    if (column.first >= 0 && column.first < source - 1) return column;
    const nearest = Math.min(Math.max(column.first, 0), source - 1);
    return { first: nearest, second: nearest, a: 2048, b: 0 };
  });
}

function rowWeights(source, size) {
  const inside = (row) => Math.min(Math.max(row, 0), source - 1);
  return weights(source, size).map((row) => ({
    ...row,
    first: inside(row.first),
    second: inside(row.second),
  }));
}

function blended({ pixels, channels }, row, { first, second, a, b }, channel) {
  return (
    a * pixels[(row + first) * channels + channel] +
    b * pixels[(row + second) * channels + channel]
  );
}

/** Returns the gray picture of a box, by OpenCV's integer weights of red, green and blue. */
function grayed({ pixels, width, channels }, box) {
  const columns = box.right - box.left;
  const rows = box.bottom - box.top;
  const gray = new Uint8Array(columns * rows);
  for (let position = 0; position < gray.length; position++) {
    const row = box.top + Math.floor(position / columns);
    const start = (row * width + box.left + (position % columns)) * channels;
    const sum =
      pixels[start] * 9798 + pixels[start + 1] * 19235 + pixels[start + 2] * 3735;
    gray[position] = (sum + 16384) >> 15;
  }
  return { pixels: gray, width: columns, height: rows, channels: 1 };
}

function roundHalfToEven(value) {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}
