/** The page: what its buttons do, and what it says. */

import { Answer } from "./answer.js";
import { Camera } from "./camera.js";
import { Times } from "./latency.js";
import { bestBuild } from "./litert.js";
import { decoded, PixelReader } from "./pictures.js";
import { PlainError } from "./plain-error.js";
import { openPredictor } from "./predictor.js";
import { Stage } from "./stage.js";
import { milliseconds, summary } from "./text.js";

const ANNOUNCED_EVERY_MS = 3000;

const element = (id) => document.getElementById(id);
const times = { detector: new Times(), classifier: new Times() };
const reader = new PixelReader();
const stage = new Stage(element("picture"));

let predictor;
let answer;
let photo = null;
let camera = null;
let isCameraStarting = false;
let facing = "user";
let announcedAt = 0;

async function start() {
  const build = bestBuild();
  predictor = await openPredictor(build);
  const { name, version, labels, input } = predictor.contract;
  answer = new Answer(element("faces"), element("card"), element("bar"), labels);
  element("model-name").textContent = [name, version].filter(Boolean).join(", ");
  element("model-input").textContent =
    `${input.size}×${input.size}, ${input.colour === "rgb" ? "RGB" : "gray"}, ${input.type}`;
  element("model-labels").textContent = labels.join(", ");
  element("runtime").textContent = describedBuild(build);
  for (const control of document.querySelectorAll(".controls :disabled")) control.disabled = false;
  say("Ready. Open a photo or start the camera.");
  await keepForOffline(build);
}

function describedBuild(build) {
  const kinds = { compat: "one thread", threaded: "threads and relaxed SIMD" };
  return `LiteRT.js, ${kinds[build.split("_")[2]] ?? "one thread and relaxed SIMD"}`;
}

/** Has the browser keep the page; where it cannot, the page works all the same. */
async function keepForOffline(build) {
  try {
    await navigator.serviceWorker.register(`service-worker.js?build=${build}`);
    await navigator.serviceWorker.ready;
    element("offline").textContent = "kept on this device";
  } catch (error) {
    element("offline").textContent = "this browser does not keep the page";
    console.warn(error);
  }
}

async function usePhoto(file) {
  stopCamera();
  say("Reading the picture…");
  const bitmap = await decoded(file);
  photo?.close();
  photo = bitmap;
  await answerPhoto();
}

async function answerPhoto() {
  const bitmap = photo;
  const picture = reader.read(bitmap, bitmap.width, bitmap.height);
  const faces = await predict(picture);
  if (bitmap !== photo) return; // another one was chosen meanwhile
  show(bitmap, picture, faces);
  say(summary(faces));
}

async function startCamera() {
  if (isCameraStarting) return;
  isCameraStarting = true;
  say("Starting the camera…");
  try {
    camera = await Camera.start(facing);
  } finally {
    isCameraStarting = false;
  }
  photo?.close();
  photo = null;
  element("camera").textContent = "Stop camera";
  element("switch").hidden = !(await Camera.hasSeveral());
  await watch(camera);
}

async function watch(running) {
  running.onEnded(() => element("problem").textContent = "The camera was disconnected.");
  try {
    for await (const video of running.frames()) {
      const picture = reader.read(video, video.videoWidth, video.videoHeight);
      const faces = await predict(picture);
      if (!running.isRunning) return;
      show(video, picture, faces, { isMirrored: running.isMirror });
      announce(summary(faces));
    }
  } finally {
    if (camera === running) stopCamera();
  }
}

function stopCamera() {
  camera?.stop();
  camera = null;
  element("camera").textContent = "Start camera";
  element("switch").hidden = true;
}

async function predict(picture) {
  const findsFaces = !element("is-face").checked;
  const prediction = await predictor.predict(picture, { findsFaces });
  for (const [part, taken] of Object.entries(prediction.milliseconds)) {
    if (taken === null) continue;
    times[part].add(taken);
    element(`${part}-last`).textContent = milliseconds(taken);
    element(`${part}-median`).textContent = milliseconds(times[part].median);
    element(`${part}-count`).textContent = times[part].count;
  }
  return prediction.faces;
}

function show(source, picture, faces, options) {
  element("invitation").hidden = true;
  element("picture").hidden = false;
  element("picture").setAttribute("aria-label", `The picture. ${summary(faces)}`);
  stage.show(source, picture, faces, options);
  answer.show(faces);
}

function say(text) {
  element("problem").textContent = "";
  element("status").textContent = text;
  announcedAt = performance.now();
}

/** Says something that changes with every frame, but not more often than one can listen to. */
function announce(text) {
  if (performance.now() - announcedAt > ANNOUNCED_EVERY_MS) say(text);
}

/** Runs an action of the page's; what goes wrong is said on it. */
async function guarded(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof PlainError)) console.error(error);
    element("status").textContent = "";
    element("problem").textContent =
      error instanceof PlainError ? error.message : `Something went wrong: ${error.message}`;
  }
}

function useFirst(files) {
  if (files.length > 0 && predictor) guarded(() => usePhoto(files[0]));
}

element("photo").addEventListener("change", ({ target }) => {
  useFirst([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});
element("camera").addEventListener("click", () => {
  if (camera) {
    stopCamera();
    say("The camera is off.");
  } else guarded(startCamera);
});
element("switch").addEventListener("click", () => {
  facing = facing === "user" ? "environment" : "user";
  stopCamera(); // a phone opens one camera at a time
  guarded(startCamera);
});
element("is-face").addEventListener("change", () => {
  if (photo) guarded(answerPhoto);
});
window.addEventListener("resize", () => stage.redraw(photo));
document.addEventListener("paste", ({ clipboardData }) => useFirst(clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("stage").classList.add("is-target");
});
document.addEventListener("dragleave", () => element("stage").classList.remove("is-target"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  element("stage").classList.remove("is-target");
  useFirst(event.dataTransfer.files);
});

guarded(start);
