// A picture at the size that a model takes: rows of pixels from 0 to 255.

// Resizes as Pillow's BILINEAR does: a triangle as wide as the step, one axis after the other, rounded in between.
function resized(pixels, [height, width, channels], [high, wide]) {
  const across = along(pixels, height, width, channels, wide);
  const turned = swapped(across, height, wide, channels);
  return swapped(along(turned, wide, height, channels, high), wide, high, channels);
}

function along(pixels, rows, size, channels, wanted) {  // (rows, size, channels) -> (rows, wanted, channels)
  if (size === wanted) return pixels;
  const made = new Uint8ClampedArray(rows * wanted * channels), step = size / wanted, reach = Math.max(step, 1);
  for (let x = 0; x < wanted; x++) {
    const middle = (x + .5) * step;
    const first = Math.max(0, Math.trunc(middle - reach + .5)), last = Math.min(size, Math.trunc(middle + reach + .5));
    const weights = [];
    for (let from = first; from < last; from++) weights.push(Math.max(0, 1 - Math.abs((from - middle + .5) / reach)));
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let row = 0; row < rows; row++)
      for (let c = 0; c < channels; c++) {
        let value = 0;
        for (let from = first; from < last; from++) value += weights[from - first] * pixels[(row * size + from) * channels + c];
        made[(row * wanted + x) * channels + c] = Math.floor(value / sum + .5);
      }
  }
  return made;
}

function swapped(pixels, rows, size, channels) {  // (rows, size, channels) -> (size, rows, channels)
  const made = new Uint8ClampedArray(pixels.length);
  for (let row = 0; row < rows; row++)
    for (let x = 0; x < size; x++)
      for (let c = 0; c < channels; c++) made[(x * rows + row) * channels + c] = pixels[(row * size + x) * channels + c];
  return made;
}

// Light ink on a dark ground, (height, width), as LeCun brought digits to 28 x 28: within 20 x 20, the centre of its weight in the middle.
function asDigit(ink, height, width) {
  let [top, left, bottom, right] = [height, width, -1, -1];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (ink[y * width + x] > 32) [top, left, bottom, right] = [Math.min(top, y), Math.min(left, x), Math.max(bottom, y), Math.max(right, x)];
  const made = new Uint8ClampedArray(28 * 28);
  if (bottom < 0) return made;
  const [h, w] = [bottom - top + 1, right - left + 1], cut = new Uint8ClampedArray(h * w);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) cut[y * w + x] = ink[(y + top) * width + x + left];
  const scale = 20 / Math.max(h, w), [high, wide] = [h, w].map((size) => Math.max(1, Math.round(size * scale)));
  const small = resized(cut, [h, w, 1], [high, wide]);
  let [sum, down, over] = [0, 0, 0];
  small.forEach((value, place) => { sum += value; down += value * Math.floor(place / wide); over += value * (place % wide); });
  const within = (offset, size) => Math.min(28 - size, Math.max(0, Math.round(offset)));
  const y0 = within(13.5 - down / sum, high), x0 = within(13.5 - over / sum, wide);
  for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) made[(y + y0) * 28 + x + x0] = small[y * wide + x];
  return made;
}

function channelsOf(rgba, channels) {  // transparent on white; grey as Pillow's "L"
  const made = new Uint8ClampedArray(rgba.length / 4 * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += channels) {
    const share = rgba[from + 3] / 255, [r, g, b] = [0, 1, 2].map((c) => Math.round(rgba[from + c] * share + 255 * (1 - share)));
    if (channels === 1) made[to] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;
    else [made[to], made[to + 1], made[to + 2]] = [r, g, b];
  }
  return made;
}

// A picture's file to pixels: {pixels, as: which words say what was done}. `drawn`: whether it comes from the page's own canvas.
async function pixelsOf(file, { height, width, channels, digits }, drawn) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); }
  catch { throw danlu.say("bad_picture"); }
  const [w, h] = [bitmap.width, bitmap.height], canvas = document.createElement("canvas");
  Object.assign(canvas, { width: w, height: h });
  const pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  const own = channelsOf(pen.getImageData(0, 0, w, h).data, channels);
  if (!digits || !drawn) return { pixels: resized(own, [h, w, channels], [height, width]), as: "resized" };
  const light = own[0] > 127;  // a drawing in dark ink
  return { pixels: asDigit(light ? own.map((value) => 255 - value) : own, h, w), as: "as_digit" };
}

function shownPixels(pixels, { height, width, channels }, as) {
  const canvas = danlu.make("canvas", { width, height, role: "img", "aria-label": danlu.say("seen", width, height) });
  const shown = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    for (let c = 0; c < 3; c++) shown.data[place * 4 + c] = pixels[place * channels + (channels === 1 ? 0 : c)];
    shown.data[place * 4 + 3] = 255;
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
  Object.assign(canvas.style, { width: "112px", imageRendering: "pixelated" });
  return danlu.make("div", { class: "seen" }, canvas, danlu.make("p", { class: "note" }, danlu.say("seen", width, height), ". ", danlu.say(as)));
}
