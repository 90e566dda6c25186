/** Figures as people read them. */

export function percent(value) {
  return `${(100 * value).toFixed(1)}%`;
}

export function milliseconds(value) {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** Says in a sentence what was found, as for a screen reader. */
export function summary(faces) {
  if (faces.length === 0) return "No face found.";
  const named = faces.map(({ label, scores }) => `${label} ${percent(Math.max(...scores))}`);
  return `${faces.length === 1 ? "One face" : `${faces.length} faces`}: ${named.join(", ")}.`;
}
