"use strict";
// What a page does beyond being read: without this script all of it is there, only still. It asks nothing of the network.
const marks = new Map();  // of each picture, what it says where
const tip = document.getElementById("tip"), large = document.getElementById("large");

function prepare(svg) {
  const found = [];
  for (const mark of svg.querySelectorAll("use[pointer-events=all]")) {
    const title = mark.querySelector("title");
    if (!title) continue;
    found.push({ mark, text: title.textContent });
    title.remove();  // else the browser would say it a second time
  }
  if (!found.length) return;
  marks.set(svg, found);
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", (event) => tell(svg, nearest(svg, event)));
  svg.addEventListener("pointerdown", (event) => tell(svg, nearest(svg, event)));
  svg.addEventListener("pointerleave", () => tell(svg, null));
  svg.addEventListener("blur", () => tell(svg, null));
  let at = -1;
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const shown = found.filter(visible);
    if (!step || !shown.length) return;
    event.preventDefault();
    at = (at + step + shown.length) % shown.length;
    tell(svg, shown[at]);
  });
}

const middle = (mark) => { const box = mark.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
const visible = (each) => !each.mark.closest("[data-series].off");

function nearest(svg, event) {
  let best = null, least = 24;  // pixels
  for (const each of marks.get(svg)) {
    if (!visible(each)) continue;
    const [x, y] = middle(each.mark), far = Math.hypot(x - event.clientX, y - event.clientY);
    if (far < least) [best, least] = [each, far];
  }
  return best;
}

function tell(svg, found) {
  document.querySelectorAll(".pointed").forEach((mark) => mark.classList.remove("pointed"));
  tip.hidden = !found;
  if (!found) return;
  found.mark.classList.add("pointed");
  tip.textContent = found.text;
  (svg.closest("dialog") || document.body).append(tip);  // above a dialog only what is within it can be seen
  const [x, y] = middle(found.mark), box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x - box.width / 2, innerWidth - box.width - 4)) + "px";
  tip.style.top = (y - box.height - 12 < 4 ? y + 14 : y - box.height - 12) + "px";
}

function switches(bar) {  // hide and show the series of the picture before them
  const svg = bar.previousElementSibling;
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    for (const part of svg.querySelectorAll(`[data-series="${button.dataset.shows}"]`)) part.classList.toggle("off", !on);
  });
}

// A picture, large: the wheel, two fingers or + and - zoom, a drag moves, escape closes.
const stage = large.querySelector("div");
let whole = null, view = null;

function enlarge(svg) {
  const copy = svg.cloneNode(true);
  copy.removeAttribute("width");
  copy.removeAttribute("height");
  const told = marks.get(svg);
  stage.replaceChildren(copy);
  if (told) {
    const places = [...copy.querySelectorAll("use[pointer-events=all]")];
    marks.delete(copy);
    places.forEach((mark, place) => {
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = told[place].text;
      mark.append(title);
    });
    prepare(copy);
  }
  whole = copy.getAttribute("viewBox").split(/[\s,]+/).map(Number);
  view = [...whole];
  large.showModal();
}

function show(next) {
  const width = Math.min(whole[2], Math.max(whole[2] / 20, next[2])), height = width * whole[3] / whole[2];
  const inside = (start, size, from, all) => Math.max(from, Math.min(start, from + all - size));
  view = [inside(next[0], width, whole[0], whole[2]), inside(next[1], height, whole[1], whole[3]), width, height];
  stage.firstChild.setAttribute("viewBox", view.join(" "));
  tip.hidden = true;
}

function zoom(by, x = 0.5, y = 0.5) {
  if (!by) return show(whole);
  const width = view[2] / by, height = view[3] / by;
  show([view[0] + (view[2] - width) * x, view[1] + (view[3] - height) * y, width, height]);
}

large.addEventListener("click", (event) => {
  if (event.target === large) large.close();
  const button = event.target.closest("[data-zoom]");
  if (button) zoom(Number(button.dataset.zoom));
});
large.addEventListener("close", () => { document.body.append(tip); tip.hidden = true; stage.replaceChildren(); });
large.addEventListener("keydown", (event) => {
  if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.4 : 1 / 1.4);
});
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
}, { passive: false });
const fingers = new Map();
stage.addEventListener("pointerdown", (event) => fingers.set(event.pointerId, event));
for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
  stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
}
stage.addEventListener("pointermove", (event) => {
  const last = fingers.get(event.pointerId), box = stage.getBoundingClientRect();
  if (!last || !view) return;
  const other = [...fingers.values()].find((each) => each.pointerId !== event.pointerId);
  if (other) {
    const span = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY) || 1;
    zoom(span(event) / span(last), (other.clientX - box.x) / box.width, (other.clientY - box.y) / box.height);
  } else {
    const per = view[2] / box.width;
    show([view[0] - (event.clientX - last.clientX) * per, view[1] - (event.clientY - last.clientY) * per, view[2], view[3]]);
  }
  fingers.set(event.pointerId, event);
});

for (const svg of document.querySelectorAll("main svg[role=img]")) {
  prepare(svg);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "larger";
  button.textContent = "⤢";
  button.setAttribute("aria-label", `${svg.getAttribute("aria-label")} +`);
  button.addEventListener("click", () => enlarge(svg));
  const frame = document.createElement("div");
  frame.className = "framed";
  svg.replaceWith(frame);
  frame.append(svg, button);
}
for (const bar of document.querySelectorAll(".switches")) {
  const frame = bar.previousElementSibling;
  frame.append(bar);
  frame.insertBefore(bar, frame.querySelector(".larger"));
  switches(bar);
}

// The parts of the page, to go to.
const nav = document.querySelector("nav");
const heads = [...document.querySelectorAll("main h2")];
if (nav && heads.length > 3) {
  heads.forEach((head, place) => {
    head.id = head.id || `part-${place + 1}`;
    const link = document.createElement("a");
    link.href = `#${head.id}`;
    link.textContent = head.textContent;
    nav.append(link);
  });
  nav.hidden = false;
}
