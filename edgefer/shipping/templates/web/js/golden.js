/** Computes the golden files in this browser, and says how far from them it comes out. */

import { fetched, fetchedBytes } from "./predictor.js";

/** What counts as a step of an output that is not quantized. */
const FLOAT_STEP = 1 / 256;
const MOST_PIXELS_APART = 1;

const ARRAYS = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, float32: Float32Array };

/**
 * Compares everything in golden.json that a browser computes: faces, and the faces of scenes.
 *
 * Returns { passed, rows }; a row is { name, inputDifferences, outputSteps, boxPixels }, the last
 * null where no box is looked for.
 */
export async function compare(predictor) {
  const golden = await (await fetched("golden/golden.json")).json();
  const rows = [];
  for (const face of golden.faces) {
    const picture = await pictureOf(face);
    const square = { left: 0, top: 0, right: face.width, bottom: face.height };
    rows.push(await compareFace(predictor, picture, square, face));
  }
  for (const scene of golden.scenes) rows.push(...(await compareScene(predictor, scene)));
  const passed = rows.every(
    (row) =>
      row.inputDifferences === 0 &&
      row.outputSteps <= golden.tolerance_steps &&
      (row.boxPixels === null || row.boxPixels <= MOST_PIXELS_APART),
  );
  return { passed, rows };
}

async function compareScene(predictor, scene) {
  const picture = await pictureOf(scene);
  const found = await predictor.detector.find(picture);
  if (found.length !== scene.faces.length) {
    throw new Error(`${scene.name}: ${found.length} faces found, not ${scene.faces.length}`);
  }
  const rows = [];
  for (const [index, face] of scene.faces.entries()) {
    const [left, top, right, bottom] = face.square;
    const named = { ...face, name: `${scene.name}, face ${index + 1}` };
    const row = await compareFace(predictor, picture, { left, top, right, bottom }, named);
    rows.push({ ...row, boxPixels: pixelsApart(found[index].box, face.box) });
  }
  return rows;
}

async function compareFace(predictor, picture, square, golden) {
  const { input: inputContract, output: outputContract } = predictor.contract;
  const input = predictor.input.of(picture, square);
  const [output] = await predictor.classifier.run(input);
  const wantedInput = await goldenValues(golden.input, inputContract.type);
  const wantedOutput = await goldenValues(golden.output, outputContract.type);
  const step = outputContract.type === "float32" ? FLOAT_STEP : 1;
  return {
    name: golden.name,
    inputDifferences: input.filter((value, place) => value !== wantedInput[place]).length,
    outputSteps: Math.max(...apart(output, wantedOutput)) / step,
    boxPixels: null,
  };
}

async function pictureOf({ picture, width, height }) {
  return { pixels: await fetchedBytes(`golden/${picture}`), width, height, channels: 3 };
}

async function goldenValues(name, type) {
  return new ARRAYS[type]((await fetchedBytes(`golden/${name}`)).buffer);
}

function pixelsApart({ left, top, right, bottom }, golden) {
  return Math.max(...apart([left, top, right, bottom], golden));
}

function apart(values, others) {
  if (values.length !== others.length) {
    throw new Error(`There are ${values.length} values, not ${others.length}`);
  }
  return Array.from(values, (value, place) => Math.abs(value - others[place]));
}
