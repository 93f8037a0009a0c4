// The student in onnxruntime-web: from pixels to its outputs.

import * as ort from "./runtime/ort.wasm.bundle.min.js";

// Shorter runs are repeated until so much time has passed, because the clocks of
// browsers are coarse.
const TIMED_MILLISECONDS = 10;

export async function loadStudent(page) {
  // More threads need headers that a plain file server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  const here = (name) => new URL(name, import.meta.url).href;
  ort.env.wasm.wasmPaths = { wasm: here("runtime/ort-wasm-simd-threaded.wasm") };
  const session = await ort.InferenceSession.create(here(page.model), {
    executionProviders: ["wasm"],
  });
  return new Student(session, page);
}

class Student {
  constructor(session, page) {
    this.session = session;
    this.page = page;
    // Detectors have outputs that only training needs.
    const shown = page.nms
      ? ["boxes", "scores", "classes", "num_detections"]
      : ["boxes", "scores"];
    this.outputs = page.task === "detection" ? shown : page.outputs;
  }

  // Returns the outputs by name and how many milliseconds one run took.
  async run(image) {
    const { name, height, width, channels, dtype } = this.page.input;
    const data = toInput(image.data, this.page);
    const shape = [1, height, width, channels];
    const feeds = { [name]: new ort.Tensor(dtype, data, shape) };
    const start = performance.now();
    let runs = 0;
    let outputs;
    do {
      outputs = await this.session.run(feeds, this.outputs);
      runs += 1;
    } while (performance.now() - start < TIMED_MILLISECONDS);
    return { outputs, milliseconds: (performance.now() - start) / runs };
  }
}

// Makes the student's input from the RGBA pixels of a canvas, as training did.
export function toInput(rgba, page) {
  const { height, width, channels, dtype } = page.input;
  const size = height * width * channels;
  const input = dtype === "uint8" ? new Uint8Array(size) : new Float32Array(size);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const value = channels === 1 ? gray(rgba, 4 * pixel) : rgba[4 * pixel + channel];
      input[pixel * channels + channel] = normalize(value, channel, page.normalization);
    }
  }
  return input;
}

// The weights of ITU-R BT.601, as image decoders have them.
export function gray(rgba, at) {
  return Math.round(0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2]);
}

function normalize(value, channel, normalization) {
  if (!normalization) return value;
  return (value / 255 - normalization.mean[channel]) / normalization.std[channel];
}
