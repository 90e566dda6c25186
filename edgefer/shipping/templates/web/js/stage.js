/** The picture on the page, with a box, a label and a score for each face in it. */

import { percent } from "./text.js";

const LONGEST_SIDE = 1600;
const DARK = "#0b1020";
const BRIGHT = "#5eead4";

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /** Draws a source of width × height, and the faces found in it; mirrored, as in a mirror. */
  show(source, size, faces, { isMirrored = false } = {}) {
    this.shown = { source, size, faces };
    const { width, height } = size;
    const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.context.save();
    if (isMirrored) this.context.setTransform(-1, 0, 0, 1, this.canvas.width, 0);
    this.context.drawImage(source, 0, 0, this.canvas.width, this.canvas.height);
    this.context.restore();
    for (const [index, { box, label, scores }] of faces.entries()) {
      const name = `${index + 1} ${label} ${percent(Math.max(...scores))}`;
      this.#frame(isMirrored ? mirrored(box, width) : box, scale, name);
    }
  }

  /** Draws a photo again, if it is shown, for a page that has another size now. */
  redraw(photo) {
    if (photo && this.shown?.source === photo) this.show(photo, this.shown.size, this.shown.faces);
  }

  /** Returns how many of the canvas's pixels one pixel of the page shows. */
  #pixelsPerShown() {
    const { width, height, clientWidth, clientHeight } = this.canvas;
    return Math.max(width / clientWidth, height / clientHeight);
  }

  #frame({ left, top, right, bottom }, scale, name) {
    const { context, canvas } = this;
    const unit = this.#pixelsPerShown();
    const [x, y] = [left * scale, top * scale];
    context.font = `600 ${13 * unit}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const tag = { width: context.measureText(name).width + 12 * unit, height: 22 * unit };
    const tagX = Math.max(0, Math.min(x, canvas.width - tag.width));
    const tagY = Math.max(0, y - tag.height);
    for (const [colour, width] of [[DARK, 5 * unit], [BRIGHT, 2.5 * unit]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x, y, (right - left) * scale, (bottom - top) * scale);
    }
    context.fillStyle = BRIGHT;
    context.fillRect(tagX, tagY, tag.width, tag.height);
    context.fillStyle = DARK;
    context.fillText(name, tagX + 6 * unit, tagY + tag.height / 2);
  }
}

function mirrored({ left, top, right, bottom }, width) {
  return { left: width - right, top, right: width - left, bottom };
}
