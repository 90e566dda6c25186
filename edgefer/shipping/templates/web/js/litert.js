/**
 * LiteRT.js's WebAssembly in this page, and a .tflite in it: typed array in, typed arrays out.
 *
 * The package's own JavaScript (@litertjs/core 2.5.3) has tensors of float32, int32 and uint8
 * only, and small models take int8. The WebAssembly below it takes them all. So this module calls
 * that directly, in the same steps as the package's loadLiteRt() and loadAndCompile().
 */

import { PlainError } from "./plain-error.js";

const MOST_THREADS = 4;

/** Typed arrays by LiteRT's numbers of element types. */
const ARRAYS = { 1: Float32Array, 3: Uint8Array, 7: Int16Array, 9: Int8Array };

/** The smallest modules with an instruction of each kind, to ask whether the browser takes it. */
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253,
  15, 253, 98, 11,
];
const RELAXED_SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253,
  15, 65, 2, 253, 15, 253, 128, 2, 11,
];

/**
 * Returns the name of the fastest build of LiteRT.js that this browser runs.
 *
 * Threads need a page that its server isolates from other sites, by the headers
 * Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy; without them there is one thread.
 */
export function bestBuild() {
  if (!runs(SIMD)) {
    throw new PlainError(
      "This browser has no WebAssembly SIMD, which the model needs. Use a newer browser.",
    );
  }
  if (!runs(RELAXED_SIMD)) return "litert_wasm_compat_internal";
  return self.crossOriginIsolated ? "litert_wasm_threaded_internal" : "litert_wasm_internal";
}

/** Loads a build from a folder; returns what `Model.open` needs. */
export async function loadRuntime(folder, build) {
  await runScript(`${folder}/${build}.js`);
  const wasm = await self.ModuleFactory({ printErr: report });
  return { wasm, environment: wasm.LiteRtEnvironment.create(null) };
}

/** A .tflite with one input, ready to run. It lives as long as the page. */
export class Model {
  /** Compiles the bytes of a .tflite for the CPU. */
  static async open({ wasm, environment }, bytes) {
    const address = wasm._malloc(bytes.length); // stays: the model keeps pointing into it
    wasm.HEAPU8.set(bytes, address);
    const model = wasm.loadModel(environment, address, bytes.length);
    const compiled = await wasm.compileModel(environment, model, {
      accelerator: "wasm",
      cpuOptions: { numThreads: Math.min(wasm.getThreadCount(), MOST_THREADS) },
      gpuOptions: {},
      webNNOptions: {},
    });
    return new Model(wasm, environment, model, compiled);
  }

  constructor(wasm, environment, model, compiled) {
    this.wasm = wasm;
    this.compiled = compiled;
    const type = model.getInputTensorType(0, 0);
    const { HOST_MEMORY } = wasm.LiteRtTensorBufferType;
    const { createManaged } = wasm.LiteRtTensorBuffer;
    this.input = createManaged(environment, HOST_MEMORY, type, type.bytes());
    this.inputBytes = type.bytes();
    type.delete();
  }

  /** Runs the model; returns its outputs in the model's order, each a typed array. */
  async run(values) {
    if (values.byteLength !== this.inputBytes) {
      throw new Error(`The input takes ${this.inputBytes} bytes, not ${values.byteLength}`);
    }
    const { WRITE } = this.wasm.LiteRtTensorBufferLockMode;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.wasm.HEAPU8.set(bytes, this.input.lock(WRITE));
    this.input.unlock();
    const outputs = await this.compiled.run(0, [this.input]);
    return outputs.map((output) => this.#taken(output));
  }

  /** Returns the values of an output buffer, which is given back. */
  #taken(buffer) {
    const { READ } = this.wasm.LiteRtTensorBufferLockMode;
    const type = buffer.tensorType();
    const address = buffer.lock(READ);
    const bytes = this.wasm.HEAPU8.slice(address, address + buffer.packedSize());
    buffer.unlock();
    const array = ARRAYS[type.elementType().value];
    type.delete();
    buffer.delete();
    return new array(bytes.buffer);
  }
}

function runs(module) {
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(module));
}

function runScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new PlainError(`${address} could not be loaded.`));
    document.head.append(script);
  });
}

/** Passes on what LiteRT writes to stderr, but for its notes about every start. */
function report(line) {
  if (!/^(VERBOSE|INFO|WARNING):/.test(line)) console.error(line);
}
