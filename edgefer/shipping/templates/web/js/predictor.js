/** The faces of a picture, found and named: the page's whole computation, without the page. */

import { FaceDetector } from "./face-detector.js";
import { FaceInput, squareAround, wholeOf } from "./face-input.js";
import { loadRuntime, Model } from "./litert.js";
import { PlainError } from "./plain-error.js";

const INTEGER_TYPES = ["int8", "uint8", "int16"];

/** Loads everything from the bundle's folders, with a build of LiteRT.js. */
export async function openPredictor(build) {
  const [runtime, contract, classifier, detector] = await Promise.all([
    loadRuntime("litert", build),
    fetched("model/contract.json").then((response) => response.json()),
    fetchedBytes("model/model.tflite"),
    fetchedBytes("model/face-detector.tflite"),
  ]);
  return new Predictor(
    contract,
    await Model.open(runtime, classifier),
    new FaceDetector(await Model.open(runtime, detector)),
  );
}

export class Predictor {
  constructor(contract, classifier, detector) {
    this.contract = contract;
    this.classifier = classifier;
    this.detector = detector;
    this.input = new FaceInput(contract.input);
  }

  /**
   * Returns the faces of a picture from left to right, and how long it took in milliseconds.
   *
   * A face is { box, square, score, scores, label }; `scores` has one number a label. Without
   * `findsFaces` the whole picture is one face.
   */
  async predict(picture, { findsFaces = true } = {}) {
    const started = performance.now();
    const found = findsFaces
      ? await this.detector.find(picture)
      : [{ box: wholeOf(picture), score: null }];
    const classified = performance.now();
    const faces = [];
    for (const { box, score } of found) {
      const square = findsFaces ? squareAround(box, picture) : box;
      faces.push({ box, square, score, ...(await this.classify(picture, square)) });
    }
    const ended = performance.now();
    return {
      faces,
      milliseconds: {
        detector: findsFaces ? classified - started : null,
        classifier: faces.length > 0 ? (ended - classified) / faces.length : null,
      },
    };
  }

  /** Names the face in a square of a picture. */
  async classify(picture, square) {
    const [output] = await this.classifier.run(this.input.of(picture, square));
    const scores = real(output, this.contract.output);
    return { scores, label: this.contract.labels[scores.indexOf(Math.max(...scores))] };
  }
}

/** Returns the numbers that an output's values stand for. */
function real(values, { type, scale, zero_point }) {
  if (!INTEGER_TYPES.includes(type)) return Array.from(values);
  return Array.from(values, (value) => Math.fround((value - zero_point) * Math.fround(scale)));
}

export async function fetched(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) {
    throw new PlainError(`${address} could not be loaded. Is the bundle complete?`);
  }
  return response;
}

export async function fetchedBytes(address) {
  return new Uint8Array(await (await fetched(address)).arrayBuffer());
}
