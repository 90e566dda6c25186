/** A card for each face: its label, and a bar for every label's score. */

import { percent } from "./text.js";

export class Answer {
  constructor(list, cardTemplate, barTemplate, labels) {
    this.list = list;
    this.cardTemplate = cardTemplate;
    this.barTemplate = barTemplate;
    this.labels = labels;
  }

  /** Shows the faces; cards that are there already are only given new figures. */
  show(faces) {
    while (this.list.children.length > faces.length) this.list.lastElementChild.remove();
    while (this.list.children.length < faces.length) this.list.append(this.#newCard());
    for (const [index, face] of faces.entries()) this.#fill(this.list.children[index], index, face);
  }

  #newCard() {
    const card = this.cardTemplate.content.firstElementChild.cloneNode(true);
    for (const label of this.labels) {
      const bar = this.barTemplate.content.firstElementChild.cloneNode(true);
      bar.querySelector(".label").textContent = label;
      card.querySelector(".bars").append(bar);
    }
    return card;
  }

  #fill(card, index, { box, label, scores }) {
    const highest = Math.max(...scores);
    const [width, height] = [box.right - box.left, box.bottom - box.top];
    card.querySelector(".number").textContent = index + 1;
    card.querySelector(".top-label").textContent = label;
    card.querySelector(".top-score").textContent = percent(highest);
    card.querySelector(".box").textContent = `${width}×${height} at ${box.left}, ${box.top}`;
    for (const [position, bar] of [...card.querySelector(".bars").children].entries()) {
      const score = scores[position];
      bar.classList.toggle("highest", score === highest);
      bar.querySelector(".score").textContent = percent(score);
      bar.querySelector(".fill").style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
    }
  }
}
