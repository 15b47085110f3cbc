// The tooltip with the exact value under the pointer, and the same text for screen readers.

import { el, setStyle } from "./dom.js";

const box = el("div", { class: "hint", hidden: true, "aria-hidden": "true" });
const spoken = el("div", { class: "spoken", "aria-live": "polite", role: "status" });

export function hintElements() {
  return [box, spoken];
}

export function showHint(text, x, y) {
  box.textContent = text;
  box.hidden = false;
  const width = box.offsetWidth,
    height = box.offsetHeight;
  const left = Math.max(4, Math.min(window.innerWidth - width - 4, x + 14));
  const top = y + 18 + height > window.innerHeight ? y - height - 10 : y + 18;
  setStyle(box, { left: `${left}px`, top: `${Math.max(4, top)}px` });
}

export function hideHint() {
  box.hidden = true;
}

export function say(text) {
  spoken.textContent = text;
}

// Give an element a tooltip, for pointer and keyboard.
export function withHint(node, text) {
  node.addEventListener("pointermove", (event) => showHint(text(), event.clientX, event.clientY));
  node.addEventListener("pointerleave", hideHint);
  node.addEventListener("focus", () => {
    const place = node.getBoundingClientRect();
    if (node.matches(":focus-visible")) showHint(text(), place.left, place.bottom - 14);
  });
  node.addEventListener("blur", hideHint);
  return node;
}
