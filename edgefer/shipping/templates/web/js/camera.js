/** The device's cameras as a stream of frames, until it is stopped. */

import { PlainError } from "./plain-error.js";

const WANTED = { width: { ideal: 1280 }, height: { ideal: 720 } };

const PROBLEMS = {
  NotAllowedError:
    "The camera is not allowed for this page. Allow it in the browser's settings for this " +
    "site, then start it again.",
  NotFoundError: "This device has no camera.",
  NotReadableError: "The camera does not answer. Another program may be using it.",
  AbortError: "The camera does not answer. Another program may be using it.",
};

export class Camera {
  /** Starts the camera that faces the "user" or the "environment", or the only one. */
  static async start(facing) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new PlainError("A browser gives a camera only to a page on https or localhost.");
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { ...WANTED, facingMode: facing },
      });
      return await new Camera(stream).#played();
    } catch (error) {
      throw error.name in PROBLEMS ? new PlainError(PROBLEMS[error.name]) : error;
    }
  }

  /** Says whether there is another camera to switch to. */
  static async hasSeveral() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  constructor(stream) {
    this.stream = stream;
    this.isRunning = true;
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.srcObject = stream;
  }

  /** Whether it looks at its user, who then expects to see a mirror. */
  get isMirror() {
    return this.#track.getSettings().facingMode !== "environment";
  }

  /** Yields the video element whenever it shows a new frame. */
  async *frames() {
    while (this.isRunning) {
      await this.#newFrame();
      if (this.isRunning) yield this.video;
    }
  }

  /** Ends `frames` and switches the camera off. */
  stop() {
    this.isRunning = false;
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
  }

  /** Stops, and calls `tell`, when the camera ends by itself, as when it is unplugged. */
  onEnded(tell) {
    this.#track.addEventListener("ended", () => {
      this.stop();
      tell();
    });
  }

  get #track() {
    return this.stream.getVideoTracks()[0];
  }

  async #played() {
    try {
      await this.video.play();
    } catch (error) {
      this.stop();
      throw error;
    }
    return this;
  }

  #newFrame() {
    return new Promise((resolve) => {
      if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
  }
}
