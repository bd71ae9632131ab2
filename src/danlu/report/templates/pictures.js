// A picture that is chosen, dropped, pasted or drawn.
danlu.picture = (field, changed) => {
  const size = 280, grey = (field.shape ?? []).at(-1) === 1;
  const canvas = danlu.make("canvas", { width: size, height: size, tabindex: 0, role: "img", "aria-label": danlu.say("canvas") });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const file = danlu.chosen({ accept: "image/*", asked: "dropimage", missing: "noimage", changed: () => {}, shown: (_, uri) => show(uri) });
  let dark = grey, drawn = false, shown = null, last = null, at = [size / 2, size / 2];

  const image = danlu.make("img", { alt: danlu.say("yourpicture"), hidden: true });
  const ground = () => { pen.fillStyle = dark ? "#000" : "#fff"; pen.fillRect(0, 0, size, size); };
  function clear() { drawn = false; shown = null; image.hidden = true; canvas.hidden = false; file.clear(); ground(); }
  function show(uri) { shown = uri; drawn = false; image.src = uri; image.hidden = false; canvas.hidden = true; changed(); }
  function stroke(from, to) {
    pen.strokeStyle = dark ? "#fff" : "#000";
    pen.lineWidth = size / 13;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
    drawn = true;
  }
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.x) * size / box.width, (event.clientY - box.y) * size / box.height]; };
  canvas.addEventListener("pointerdown", (event) => { last = place(event); canvas.setPointerCapture(event.pointerId); stroke(last, last); event.preventDefault(); });
  canvas.addEventListener("pointermove", (event) => { if (last) { const to = place(event); stroke(last, to); last = to; } });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { if (last) { last = null; changed(); } });
  canvas.addEventListener("keydown", (event) => {  // by keys: the arrows move the pen, with Shift without drawing
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (!x && !y) return;
    event.preventDefault();
    const to = [Math.min(size, Math.max(0, at[0] + 14 * x)), Math.min(size, Math.max(0, at[1] + 14 * y))];
    if (!event.shiftKey) { stroke(at, to); changed(); }
    at = to;
  });
  document.addEventListener("paste", (event) => { const given = [...event.clipboardData.files].find((each) => each.type.startsWith("image/")); if (given) file.take(given); });
  const swap = danlu.make("button", { type: "button", class: "quiet", onclick: () => {
    const before = pen.getImageData(0, 0, size, size);
    for (let i = 0; i < before.data.length; i++) if (i % 4 !== 3) before.data[i] = 255 - before.data[i];
    dark = !dark;
    pen.putImageData(before, 0, 0);
    if (drawn) changed();
  } }, danlu.say("swap"));
  const wipe = danlu.make("button", { type: "button", class: "quiet", onclick: () => { clear(); changed(); } }, danlu.say("clear"));
  ground();
  file.node.append(danlu.make("div", { class: "easel" }, canvas, image), danlu.make("div", { class: "row" }, wipe, swap));
  return {
    node: file.node, id: file.id,
    uri: () => shown ?? (drawn ? canvas.toDataURL("image/png") : null),
    get() { const uri = this.uri(); if (!uri) throw danlu.say("noimage"); return uri.slice(uri.indexOf(",") + 1); },
    set: (uri) => { if (typeof uri === "string" && uri.startsWith("data:image/")) show(uri); },
    canvas,
  };
};

danlu.over = async (uri, draw, smooth = true) => {  // a picture with something drawn over it: draw(pen, width, height, scale)
  const image = new Image();
  await new Promise((done, failed) => { image.onload = done; image.onerror = failed; image.src = uri; });
  const scale = Math.max(1, Math.min(360 / image.naturalWidth, 360 / image.naturalHeight, 24));
  const canvas = danlu.make("canvas", { width: image.naturalWidth * scale, height: image.naturalHeight * scale, role: "img" });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = smooth && scale < 4;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  await draw(pen, canvas.width, canvas.height, scale);
  return canvas;
};
