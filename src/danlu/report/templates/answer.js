// The answer of a model, why, and what would change it. All words of the user's are written as text.
const svg = (name, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const bar = (share, kind = "") => {
  const inner = danlu.make("i", { class: kind });
  inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return danlu.make("span", { class: "bar", "aria-hidden": "true" }, inner);
};
const percent = (p) => p > 0.9995 && p < 1 ? "> 99.9 %" : p > 0 && p < 0.0005 ? "< 0.1 %" : `${danlu.figure(100 * p)} %`;
const part = (name, reply) => reply[`probability ${name}`];

function shares(entries, chosen, most = 6) {  // [name, probability, maybe whether it is chosen] as bars, the likeliest first
  const list = danlu.make("ul", { class: "shares" });
  const sorted = [...entries].sort((a, b) => b[1] - a[1]);
  const isChosen = ([name, , own]) => own ?? chosen.includes(name);
  const line = (each) => danlu.make("li", { class: isChosen(each) ? "chosen" : "" },
    danlu.make("span", { class: "name", user: true, title: each[0] }, each[0]), bar(each[1]), danlu.make("b", {}, percent(each[1])));
  const rest = sorted.slice(most).filter((each) => !isChosen(each));
  list.append(...sorted.filter((each, place) => place < most || isChosen(each)).map(line));
  if (!rest.length) return list;
  return danlu.make("div", {}, list, danlu.make("details", {}, danlu.make("summary", {}, danlu.say("more", rest.length)), danlu.make("ul", { class: "shares" }, ...rest.map(line))));
}

const headline = (about, value, more) => [
  danlu.make("p", { class: "headline" }, danlu.make("small", { user: true }, about.target ?? ""), danlu.make("b", { user: true }, value)),
  more ? danlu.make("p", { class: "sure" }, more) : null,
];

const answers = {
  classes(about, reply) {
    const answer = String(reply[about.target]), p = part(answer, reply), set = reply.set ?? reply["set of classes"];
    const found = headline(about, answer, p === undefined ? null : danlu.say("probability", percent(p)));
    if (about.classes) found.push(shares(about.classes.map((name) => [name, part(name, reply) ?? 0]), [answer]));
    if (Array.isArray(set)) found.push(danlu.make("p", { class: "note set" }, danlu.say("set", percent(about.level ?? 0.9)), " ", danlu.make("b", { user: true }, set.join(", ") || danlu.say("none"))));
    return found;
  },
  quantity(about, reply) {
    const value = reply[about.target], low = reply.low ?? reply["low of the interval"], high = reply.high ?? reply["high of the interval"];
    const found = headline(about, danlu.figure(value, 4));
    const between = typeof low === "number" && typeof high === "number";
    if (between) found.push(danlu.make("p", { class: "sure" }, danlu.say("between", danlu.figure(low, 4), danlu.figure(high, 4), percent(about.level ?? 0.9))));
    let [least, most] = about.extent ?? [value - 1, value + 1];
    least = Math.min(least, value, between ? low : value);
    most = Math.max(most, value, between ? high : value);
    const at = (each) => `${100 * (each - least) / (most - least || 1)}%`;
    const scale = danlu.make("div", { class: "scale", "aria-hidden": "true" });
    if (between) { const band = danlu.make("i", { class: "band" }); band.style.left = at(low); band.style.width = `calc(${at(high)} - ${at(low)})`; scale.append(band); }
    const dot = danlu.make("i", { class: "dot" });
    dot.style.left = at(value);
    scale.append(dot);
    found.push(scale, danlu.make("p", { class: "ends", "aria-hidden": "true" }, danlu.make("span", {}, danlu.figure(least, 3)), danlu.make("span", {}, danlu.figure(most, 3))));
    return found;
  },
  labels(about, reply) {
    const names = [].concat(reply[about.target] ?? reply.tags ?? []);
    const known = Object.entries(reply).filter(([name]) => name.startsWith("probability ")).map(([name, p]) => [name.slice(12), p]);
    return [...headline(about, names.join(", ") || danlu.say("none")), shares(known, names, 12)];
  },
  forecast(about, reply, record) {
    const several = !Array.isArray(reply.forecast), names = several ? Object.keys(reply.forecast) : [about.target];
    return names.map((name) => {
      const of = (key) => several ? reply[key]?.[name] : reply[key];
      const given = record?.[name] ?? Object.values(record ?? {}).find((values) => Array.isArray(values) && typeof values[0] === "number") ?? [];
      const past = given.slice(0, given.findLastIndex(Number.isFinite) + 1).slice(-4 * of("forecast").length - 20);
      return danlu.make("div", { class: "forecast" }, danlu.make("p", { class: "headline" }, danlu.make("small", { user: true }, name ?? "")), curve(past, of("forecast"), of("low"), of("high")), table(reply, of));
    });
  },
  async objects(about, reply, record, uri) {
    const colours = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"], names = [...new Set(reply.objects.map((each) => each.label))];
    const shown = [...reply.objects].sort((a, b) => b.score - a.score);
    const sure = shown.filter((each) => each.score >= 0.3);
    const seen = uri ? await danlu.over(uri, (pen, width, height, scale) => {
      pen.lineWidth = 3;
      for (const each of sure.length ? sure : shown.slice(0, 1)) { pen.strokeStyle = colours[names.indexOf(each.label) % colours.length]; pen.strokeRect(each.x0 * scale, each.y0 * scale, (each.x1 - each.x0) * scale, (each.y1 - each.y0) * scale); }
    }) : null;
    seen?.setAttribute("aria-label", danlu.say("found", sure.length));
    return [danlu.make("p", { class: "headline" }, danlu.make("b", {}, danlu.say("found", sure.length))), seen && danlu.make("div", { class: "seen" }, seen), shares(shown.map((each) => [each.label, each.score, each.score >= 0.3]), [], 8)];
  },
  async mask(about, reply, record, uri) {
    const mask = `data:image/png;base64,${reply.mask}`;
    const seen = await danlu.over(uri ?? mask, async (pen, width, height) => {
      const over = new Image();
      await new Promise((done) => { over.onload = done; over.src = mask; });
      const part = danlu.make("canvas", { width: over.naturalWidth, height: over.naturalHeight }), small = part.getContext("2d");
      small.drawImage(over, 0, 0);
      const pixels = small.getImageData(0, 0, part.width, part.height), colours = [[0, 0, 0, 0], [213, 94, 0, 150], [0, 114, 178, 150], [0, 158, 115, 150], [204, 121, 167, 150], [230, 159, 0, 150]];
      const values = [...new Set(Array.from({ length: pixels.data.length / 4 }, (_, i) => pixels.data[4 * i]))].sort((a, b) => a - b);
      for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set(colours[Math.min(values.indexOf(pixels.data[i]), 5)], i);
      small.putImageData(pixels, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(part, 0, 0, width, height);
    });
    seen.setAttribute("aria-label", danlu.say("themask"));
    return [danlu.make("div", { class: "seen" }, seen), shares(Object.entries(reply).filter(([name]) => name.startsWith("share ")).map(([name, p]) => [name.slice(6), p]), [], 12)];
  },
  text: (about, reply) => [danlu.make("p", { class: "headline text" }, danlu.make("b", { user: true }, reply.translation ?? reply.text ?? ""))],
  anything: (about, reply) => [danlu.make("dl", { class: "tiles" }, ...Object.entries(reply).map(([name, value]) =>
    danlu.make("div", {}, danlu.make("dt", { user: true }, name), danlu.make("dd", { user: true }, typeof value === "number" ? danlu.figure(value, 4) : typeof value === "string" ? value : JSON.stringify(value)))))],
};

const kinds = { binary: "classes", multiclass: "classes", regression: "quantity", multilabel: "labels", forecast: "forecast", detection: "objects", segmentation: "mask", translation: "text", generated: "text" };

danlu.answer = async (about, reply, record, uri = null) => {  // the nodes that show a reply
  const found = (await (answers[kinds[about.task]] ?? answers.anything)(about, reply, record, uri)).filter(Boolean);
  if (typeof reply.disagreement === "number") found.push(danlu.make("p", { class: "note" }, danlu.say("disagreement", danlu.figure(reply.disagreement))));
  return found;
};

function curve(past, forecast, low, high) {  // what was, and what is to come with its interval
  const width = 560, height = 190, all = [...past, ...forecast, ...(low ?? []), ...(high ?? [])].filter(Number.isFinite);
  const least = Math.min(...all), most = Math.max(...all), count = past.length + forecast.length;
  const x = (i) => 8 + (width - 58) * i / Math.max(count - 1, 1), y = (value) => height - 14 - (height - 28) * (value - least) / (most - least || 1);
  const points = (values, from) => values.map((value, i) => Number.isFinite(value) ? `${x(from + i).toFixed(1)},${y(value).toFixed(1)}` : null).filter(Boolean).join(" ");
  const node = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": danlu.say("thecurve", past.length, forecast.length), class: "curve" });
  const edge = past.length ? [past.at(-1)] : [], from = past.length - edge.length;
  if (low && high) node.append(svg("polygon", { points: `${points([...edge, ...high], from)} ${points([...edge, ...low], from).split(" ").reverse().join(" ")}`, class: "band" }));
  node.append(svg("polyline", { points: points(past, 0), class: "past" }), svg("polyline", { points: points([...edge, ...forecast], from), class: "next" }));
  for (const value of [least, most]) { const label = svg("text", { x: width - 44, y: y(value) + 4 }); label.textContent = danlu.figure(value); node.append(label); }
  return node;
}

function table(reply, of) {
  const time = Object.entries(reply).find(([name, values]) => Array.isArray(values) && !["forecast", "low", "high"].includes(name))?.[1] ?? of("forecast").map((_, i) => i + 1);
  const columns = ["forecast", "low", "high"].filter((key) => Array.isArray(of(key)));
  return danlu.make("details", {}, danlu.make("summary", {}, danlu.say("values")), danlu.make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": danlu.say("values") }, danlu.make("table", {},
    danlu.make("tr", {}, danlu.make("th", {}, ""), ...columns.map((key) => danlu.make("th", { class: "n" }, danlu.say(`the${key}`)))),
    ...of("forecast").map((_, i) => danlu.make("tr", {}, danlu.make("td", { user: true }, String(time[i] ?? i + 1)), ...columns.map((key) => danlu.make("td", { class: "n" }, danlu.figure(of(key)[i], 4))))))));
}

const signed = (value, digits = null) => (value > 0 ? "+" : "") + (digits === null ? danlu.figure(value) : value.toFixed(digits).replace("-", "−"));

function pushes(parts, most = 10) {  // what each part added, to the right or to the left
  const sorted = [...parts].sort((a, b) => Math.abs(b.added) - Math.abs(a.added)), shown = sorted.slice(0, sorted.length > most + 1 ? most : undefined), rest = sorted.slice(shown.length);
  const lines = shown.map((each) => [each.name, each.value, each.added]);
  if (rest.length) lines.push([null, danlu.say("others", rest.length), rest.reduce((sum, each) => sum + each.added, 0)]);
  const largest = Math.max(...lines.map((line) => Math.abs(line[2])), 1e-12);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(largest)));  // all of them as exactly as the largest
  return danlu.make("ul", { class: "pushes" }, ...lines.map(([name, value, added]) => {
    const push = danlu.make("i", { class: added < 0 ? "against" : "for" });
    push.style.width = `${50 * Math.abs(added) / largest}%`;
    return danlu.make("li", {}, danlu.make("span", { class: "name", user: name !== null, title: name ?? "" }, name ?? value, name !== null && value ? danlu.make("em", {}, ` ${value}`) : null),
      danlu.make("span", { class: "axis", "aria-hidden": "true" }, push), danlu.make("b", {}, largest < 1e-4 || largest >= 1e5 ? signed(added) : signed(added, digits)));
  }));
}

function tinted(parts) {  // a text whose words are coloured
  const largest = Math.max(...parts.map((each) => Math.abs(each.added)), 1e-12);
  return danlu.make("p", { class: "words", user: true }, ...parts.flatMap((each) => {
    const word = danlu.make("span", { class: each.added < 0 ? "against" : "for", title: signed(each.added) }, each.name);
    word.style.setProperty("--much", `${Math.round(85 * Math.abs(each.added) / largest)}%`);
    return [word, " "];
  }));
}

async function heat(uri, map) {  // which pixels spoke for the answer (orange) and against it (blue)
  const values = map.flat().map(Math.abs).sort((a, b) => a - b), strongest = values[Math.floor(0.995 * (values.length - 1))] || 1e-12;
  const canvas = await danlu.over(uri, (pen, width, height) => {
    pen.fillStyle = "rgba(128, 128, 128, .45)";
    pen.fillRect(0, 0, width, height);
    const down = height / map.length, across = width / map[0].length;
    map.forEach((row, y) => row.forEach((added, x) => {
      const share = Math.min(1, Math.abs(added) / strongest);
      if (share < 0.04) return;
      pen.fillStyle = added < 0 ? `rgba(60, 160, 255, ${share})` : `rgba(255, 120, 20, ${share})`;
      pen.fillRect(x * across, y * down, Math.ceil(across), Math.ceil(down));
    }));
  });
  canvas.setAttribute("aria-label", danlu.say("theheat"));
  return danlu.make("div", { class: "seen" }, canvas);
}

danlu.why = async (about, found, uri = null) => {  // why one row was answered so: as danlu.explain gives it
  const words = about.kind === "text";
  const nodes = [danlu.make("p", {}, danlu.say("score", found.score, danlu.figure(found.value), found.against, danlu.figure(found.base)))];
  for (const doubt of found.doubts ?? []) nodes.push(danlu.make("p", { class: "doubt" }, doubt));
  if (words) nodes.push(tinted(found.parts));
  else if (found.map && uri && about.kind === "image") nodes.push(await heat(uri, found.map));
  nodes.push(danlu.make("p", { class: "note key" }, danlu.make("i", { class: "for" }), danlu.say("raised"), " ", danlu.make("i", { class: "against" }), danlu.say("lowered")));
  const ordered = about.kind === "sequence";
  if (!words) nodes.push(pushes(found.parts, ordered ? 12 : 10));
  nodes.push(danlu.make("details", {}, danlu.make("summary", {}, danlu.say("how")), danlu.make("p", { class: "note" }, found.method), ...(found.notes ?? []).map((note) => danlu.make("p", { class: "note" }, note))));
  return nodes;
};

danlu.changes = (about, record, found, tried) => {  // what would change the answer, each with a button that fills it in
  if (!found.length) return [danlu.make("p", { class: "note" }, danlu.say("nochange"))];
  return [danlu.make("ol", { class: "changes" }, ...found.map((each) => {
    const answer = each.answer[about.target], p = part(answer, each.answer);
    return danlu.make("li", {},
      danlu.make("div", { class: "moves" }, ...Object.entries(each.changes).map(([name, value]) => danlu.make("span", { class: "move" },
        danlu.make("em", { user: true }, name), " ", danlu.make("s", { user: true, "aria-label": danlu.say("from", shownValue(record[name])) }, shownValue(record[name])), danlu.make("span", { "aria-hidden": "true" }, " → "), danlu.make("b", { user: true }, shownValue(value))))),
      danlu.make("p", {}, danlu.say("then"), " ", danlu.make("b", { user: true }, typeof answer === "number" ? danlu.figure(answer, 4) : String(answer)), p === undefined ? "" : ` (${percent(p)})`),
      danlu.make("button", { type: "button", class: "quiet", onclick: () => tried(each.changes) }, danlu.say("try")));
  }))];
};

function shownValue(value) {
  if (value === null || value === undefined || value === "") return danlu.say("unknown");
  if (typeof value === "boolean") return danlu.say(value ? "yes" : "no");
  return typeof value === "number" ? danlu.figure(value, 6) : String(value);
}
