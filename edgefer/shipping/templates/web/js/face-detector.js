/**
 * The faces in a picture, found by MediaPipe's BlazeFace: its input, its anchors, its boxes.
 *
 * After Bazarevsky et al., BlazeFace (arXiv 1907.05047), and the options that MediaPipe publishes.
 */

import { resized, wholeOf } from "./face-input.js";

const SIZE = 256;

/** Cells along each side, and anchors in each cell; 896 anchors in all, row by row. */
const GRIDS = [
  { cells: 16, repeats: 2 },
  { cells: 8, repeats: 6 },
];
const VALUES_PER_BOX = 16;

const LEAST_SCORE = 0.5;
const SAME_FACE_OVERLAP = 0.3;

/** What the network takes for each byte: −1…1. */
const VALUES = Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte / 127.5) - 1);

const ANCHORS = GRIDS.flatMap(({ cells, repeats }) =>
  Array.from({ length: cells * cells * repeats }, (_, anchor) => {
    const cell = Math.floor(anchor / repeats);
    return { x: ((cell % cells) + 0.5) / cells, y: (Math.floor(cell / cells) + 0.5) / cells };
  }),
);

/** Finds faces with a `Model` of BlazeFace for back cameras. */
export class FaceDetector {
  constructor(model) {
    this.model = model;
  }

  /** Returns the faces from left to right, each { box, score }; boxes in the picture's pixels. */
  async find(picture) {
    const outputs = await this.model.run(detectorInput(picture));
    const [logits, regressors] = outputs.sort((one, other) => one.length - other.length);
    return oneEachFace(decoded(regressors, logits))
      .map((found) => ({ box: inPicture(found, picture), score: found.score }))
      .filter(({ box }) => box.right > box.left && box.bottom > box.top)
      .sort((one, other) => one.box.left - other.box.left || one.box.top - other.box.top);
  }
}

/** Returns the picture fitted into the network's square with its proportions, black around it. */
export function detectorInput(picture) {
  const { columns, rows } = fittedSize(picture);
  const bytes = resized(picture, wholeOf(picture), columns, rows);
  const left = Math.floor((SIZE - columns) / 2);
  const top = Math.floor((SIZE - rows) / 2);
  const values = new Float32Array(SIZE * SIZE * 3).fill(VALUES[0]);
  for (let row = 0; row < rows; row++) {
    const start = ((top + row) * SIZE + left) * 3;
    for (let position = 0; position < columns * 3; position++) {
      values[start + position] = VALUES[bytes[row * columns * 3 + position]];
    }
  }
  return values;
}

/** Returns the boxes that the network is sure enough of, in an input whose sides are 1. */
function decoded(regressors, logits) {
  const found = [];
  ANCHORS.forEach((anchor, index) => {
    const score = 1 / (1 + Math.exp(-logits[index]));
    const start = index * VALUES_PER_BOX;
    const [x, y, width, height] = regressors
      .subarray(start, start + 4)
      .map((pixels) => pixels / SIZE);
    if (!(score >= LEAST_SCORE && width > 0 && height > 0)) return;
    found.push({
      left: x + anchor.x - width / 2,
      top: y + anchor.y - height / 2,
      right: x + anchor.x + width / 2,
      bottom: y + anchor.y + height / 2,
      score,
    });
  });
  return found;
}

/** Blends the boxes that overlap the surest one, weighted by score, until none is left. */
function oneEachFace(boxes) {
  let left = boxes.sort((one, other) => other.score - one.score);
  const faces = [];
  while (left.length > 0) {
    const surest = left[0];
    const isSame = (box) => overlap(surest, box) > SAME_FACE_OVERLAP;
    faces.push({ ...average(left.filter(isSame)), score: surest.score });
    left = left.filter((box) => !isSame(box));
  }
  return faces;
}

function average(boxes) {
  const sum = (value) => boxes.reduce((total, box) => total + value(box), 0);
  const mean = (side) => sum((box) => box[side] * box.score) / sum((box) => box.score);
  return { left: mean("left"), top: mean("top"), right: mean("right"), bottom: mean("bottom") };
}

/** Returns intersection over union. */
function overlap(one, other) {
  const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  return shared / (area(one) + area(other) - shared);
}

function area({ left, top, right, bottom }) {
  return (right - left) * (bottom - top);
}

/** Returns a found box in whole pixels of the picture, cut off at its border. */
function inPicture(found, picture) {
  const { columns, rows } = fittedSize(picture);
  const scaled = (value, fitted, length) => {
    const pixels = ((value * SIZE - Math.floor((SIZE - fitted) / 2)) * length) / fitted;
    return Math.min(Math.max(Math.floor(pixels + 0.5), 0), length);
  };
  return {
    left: scaled(found.left, columns, picture.width),
    top: scaled(found.top, rows, picture.height),
    right: scaled(found.right, columns, picture.width),
    bottom: scaled(found.bottom, rows, picture.height),
  };
}

function fittedSize({ width, height }) {
  const longer = Math.max(width, height);
  const fitted = (side) =>
    Math.max(1, Math.floor((side * SIZE + Math.floor(longer / 2)) / longer));
  return { columns: fitted(width), rows: fitted(height) };
}
