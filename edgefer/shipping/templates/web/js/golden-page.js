/** The page that shows what `golden.js` found. */

import { compare } from "./golden.js";
import { bestBuild } from "./litert.js";
import { openPredictor } from "./predictor.js";

const element = (id) => document.getElementById(id);

function row({ name, inputDifferences, outputSteps, boxPixels }) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(head);
  for (const value of [inputDifferences, Number(outputSteps.toFixed(4)), boxPixels ?? "–"]) {
    line.insertCell().textContent = value;
  }
  return line;
}

try {
  const { passed, rows } = await compare(await openPredictor(bestBuild()));
  element("rows").append(...rows.map(row));
  element("status").textContent = passed
    ? "Passed: every input is the same, every answer within its tolerance."
    : "Failed: this device answers otherwise than the desk.";
} catch (error) {
  element("status").textContent = "";
  element("problem").textContent = `Failed: ${error.message}`;
  throw error;
}
