// If the page was inserted into another document, as notebooks do, move it into a frame of its own: then styles and
// keys of the page and of the document do not affect each other.

const TALL = "860px";

// `script` is the page's own; the elements before it are its style, its container and its content.
export function isolate(script) {
  if (!script) return;
  const before = [];
  for (let node = script.previousElementSibling; node; node = node.previousElementSibling) before.push(node);
  const content = before[0],
    place = before[1],
    style = before.find((node) => node.matches("style")),
    policy = before.find((node) => node.matches("meta[http-equiv]"));
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.setAttribute("title", "minibert explorer");
  frame.style.setProperty("width", "100%");
  frame.style.setProperty("height", TALL);
  frame.style.setProperty("border", "0");
  frame.srcdoc = [
    "<!DOCTYPE html>",
    '<html lang="en" data-minibert="explorer">',
    '<meta charset="utf-8">',
    policy ? `<meta http-equiv="Content-Security-Policy" content="${policy.content}">` : "",
    '<meta name="color-scheme" content="light dark">',
    element("title", "", "minibert explorer"),
    element("style", "", style?.textContent ?? ""),
    "<body>",
    element("div", ' id="page"', ""),
    element("script", ' type="application/json" id="content"', content.textContent), // in it, "<" is written as \u003c
    element("script", "", script.textContent),
  ].join("");
  place.replaceWith(frame);
  for (const node of [style, policy, content, script]) node?.remove();
}

function element(name, attributes, text) {
  return `<${name}${attributes}>${text}</${name}>`;
}
