"use strict";
// A form made from the fields of a model. Names, categories and texts are the user's: they become text and attributes, never HTML.
const danlu = {};

danlu.say = (() => {  // the words of the page, in the reader's language; "%1" is the first value
  let words = null;
  return (key, ...values) => {
    words ??= new Map([...document.querySelectorAll("template.words")].flatMap((each) => [...each.content.querySelectorAll("[data-say]")]).map((each) => [each.dataset.say, each.textContent.trim()]));
    return (words.get(key) ?? key).replace(/%(\d)/g, (_, place) => values[place - 1]);
  };
})();

danlu.make = (name, attributes = {}, ...children) => {  // an element; children that are no elements become text
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "user") node.translate = !value;  // the user's words, which no one is to translate
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((each) => each !== null && each !== undefined && each !== ""));
  return node;
};

danlu.figure = (value, digits = 3) => {  // a number in a few digits, as the rest of danlu writes it
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e9)) return value.toExponential(digits - 1).replace("-", "−");
  const shown = size >= 10 ** digits || (size >= 1e4 && Number.isInteger(value)) ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
  return shown.replace("-", "−");
};

let numbered = 0;
const fresh = () => `f${++numbered}`;

// A field: its node, its value (throws what is wrong with it), and how to fill it. `changed` is called when its value may be another.

const YES = /^(true|yes|y|1|t|on)$/i;

function pills(field, choices, changed) {  // a few choices side by side: [value, shown, is the user's]
  const group = fresh();
  const node = danlu.make("div", { class: "pills" });
  for (const [place, [value, shown, own]] of choices.entries()) {
    const id = fresh();
    node.append(
      danlu.make("input", { type: "radio", name: group, id, value: place, onchange: changed, checked: value === null }),
      danlu.make("label", { for: id, user: own }, shown),
    );
  }
  const buttons = () => [...node.querySelectorAll("input")];
  return {
    node, group: true,
    get: () => choices[buttons().find((each) => each.checked)?.value ?? choices.length - 1][0],
    set: (value) => { const place = choices.findIndex(([each]) => each === value); (buttons()[place] ?? buttons().at(-1)).checked = true; },
  };
}

const unknown = () => [null, danlu.say("unknown"), false];

const makers = {
  number(field, changed) {
    const id = fresh(), ranged = Number.isFinite(field.low) && Number.isFinite(field.high) && field.low < field.high;
    const whole = ranged && [field.low, field.high, Number(field.example ?? 0)].every(Number.isInteger);
    const input = danlu.make("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", placeholder: danlu.say("unknown") });
    const step = whole ? Math.max(1, Math.round((field.high - field.low) / 1000)) : 10 ** Math.floor(Math.log10((field.high - field.low) / 100));
    const slider = ranged && danlu.make("input", { type: "range", min: field.low, max: field.high, step: "any", tabindex: -1, "aria-hidden": "true" });
    const hint = danlu.make("small", { id: `${id}-hint` });
    const number = () => { const text = input.value.trim().replace(/^[−–]/, "-").replace(/[,\s_](?=\d{3}(\D|$))/g, ""); return text === "" ? null : Number(text.replace(/^(-?\d+),(\d+)$/, "$1.$2")); };
    const look = () => {
      const value = number(), beyond = ranged && value !== null && (value < field.low || value > field.high);
      if (slider) slider.value = value ?? (field.low + field.high) / 2;
      slider && slider.classList.toggle("unset", value === null);
      hint.className = beyond ? "beyond" : "";
      hint.textContent = ranged ? danlu.say(beyond ? "beyond" : "range", danlu.figure(field.low, 6), danlu.figure(field.high, 6)) : "";
    };
    input.addEventListener("input", () => { look(); changed(); });
    if (slider) slider.addEventListener("input", () => { const value = Math.round(slider.value / step) * step; input.value = String(Number(value.toPrecision(12))); look(); changed(); });
    if (ranged) input.setAttribute("aria-describedby", hint.id);
    look();
    return {
      node: danlu.make("div", { class: "number" }, danlu.make("div", { class: "united" }, input, field.unit && danlu.make("span", { user: true }, field.unit)), slider || null, ranged ? hint : null),
      id,
      get: () => { const value = number(); if (Number.isNaN(value)) throw danlu.say("nonumber", input.value); return value; },
      set: (value) => { input.value = value ?? ""; look(); },
    };
  },

  category(field, changed) {
    const categories = field.categories ?? [];
    if (categories.length && !field.is_open && categories.length <= 4 && categories.join("").length <= 28)
      return pills(field, [...categories.map((each) => [each, each, true]), unknown()], changed);
    const id = fresh();
    if (!categories.length || field.is_open) {  // new ones are expected
      const list = danlu.make("datalist", { id: `${id}-list` }, ...categories.map((each) => danlu.make("option", { value: each })));
      const input = danlu.make("input", { id, list: list.id, autocomplete: "off", placeholder: danlu.say("unknown"), oninput: changed });
      return { node: danlu.make("div", {}, input, list), id, get: () => input.value.trim() || null, set: (value) => { input.value = value ?? ""; } };
    }
    const select = danlu.make("select", { id, onchange: changed }, danlu.make("option", { value: "" }, danlu.say("unknown")),
      ...categories.map((each, place) => danlu.make("option", { value: place + 1, user: true }, each)));
    return { node: select, id, get: () => select.value === "" ? null : categories[select.value - 1], set: (value) => { const place = categories.indexOf(String(value ?? "")); select.value = place < 0 ? "" : place + 1; } };
  },

  boolean(field, changed) {
    const made = pills(field, [[true, danlu.say("yes"), false], [false, danlu.say("no"), false], unknown()], changed);
    return { ...made, set: (value) => made.set(value === null || value === undefined ? null : value === true || YES.test(String(value))) };
  },

  date(field, changed) {
    const id = fresh(), timed = /\d[T ]\d/.test(String(field.example ?? ""));
    const input = danlu.make("input", { id, type: timed ? "datetime-local" : "date", step: timed ? 1 : undefined, onchange: changed });
    return { node: input, id, get: () => input.value || null, set: (value) => { input.value = value ? String(value).replace(" ", "T").slice(0, timed ? 19 : 10) : ""; } };
  },

  text(field, changed) {
    const id = fresh();
    const area = danlu.make("textarea", { id, rows: field.alone ? 5 : 2, spellcheck: "false", placeholder: danlu.say(field.alone ? "writehere" : "unknown"), oninput: changed });
    return {
      node: area, id,
      get: () => { if (field.alone && !area.value.trim()) throw danlu.say("notext"); return area.value.trim() ? area.value : null; },
      set: (value) => { area.value = value ?? ""; },
    };
  },

  array(field, changed) {
    const id = fresh(), shape = field.shape ?? [], few = shape.length === 1 && shape[0] <= 12;
    const count = few ? shape[0] : 1;
    const inputs = Array.from({ length: count }, (_, place) => few
      ? danlu.make("input", { id: place ? fresh() : id, type: "text", inputmode: "decimal", value: "0", "aria-label": `${field.name} ${place + 1}`, oninput: changed })
      : danlu.make("textarea", { id, rows: 4, placeholder: `[…]  (${shape.join(" × ")})`, oninput: changed }));
    const parsed = (text) => { try { return JSON.parse(text); } catch { throw danlu.say("nonumber", text.slice(0, 40)); } };
    return {
      node: danlu.make("div", { class: "many" }, ...inputs), id,
      get: () => few ? inputs.map((each) => parsed(each.value.replace("−", "-"))) : parsed(inputs[0].value),
      set: (value) => { if (few && Array.isArray(value)) value.forEach((each, place) => { inputs[place].value = each; }); else if (!few && value) inputs[0].value = JSON.stringify(value); },
    };
  },

  image: (field, changed) => danlu.picture(field, changed),

  sound(field, changed) {
    const player = danlu.make("audio", { controls: true, hidden: true });
    const made = danlu.chosen({ accept: ".wav,audio/wav,audio/x-wav", asked: "dropsound", missing: "nosound", changed, shown: (file) => {
      if (player.src) URL.revokeObjectURL(player.src);
      player.src = URL.createObjectURL(file);
      player.hidden = false;
    } });
    made.node.append(player);
    return made;
  },
};

danlu.base64 = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(String(reader.result));
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

danlu.chosen = ({ accept, asked, missing, changed, shown }) => {  // a file that is chosen or dropped
  const id = fresh();
  let value = null;
  const name = danlu.make("span", { class: "file", user: true });
  const input = danlu.make("input", { type: "file", id, accept, onchange: () => take(input.files[0]) });
  const node = danlu.make("div", { class: "drop" }, danlu.make("label", { for: id, class: "button" }, danlu.say("choose")), input, danlu.make("span", { class: "hint" }, danlu.say(asked)), name);
  async function take(file) {
    if (!file) return;
    name.textContent = file.name;
    value = await danlu.base64(file);
    shown(file, value);
    changed();
  }
  for (const kind of ["dragenter", "dragover"]) node.addEventListener(kind, (event) => { event.preventDefault(); node.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) node.addEventListener(kind, (event) => { event.preventDefault(); node.classList.remove("over"); });
  node.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  return { node, id, take, get: () => { if (!value) throw danlu.say(missing); return value.slice(value.indexOf(",") + 1); }, set: () => {}, uri: () => value, clear: () => { value = null; name.textContent = ""; } };
};

danlu.rows = (text) => {  // a pasted table as a list of lists; the separator is the one that most lines have
  const lines = text.replace(/\r/g, "").split("\n").filter((line) => line.trim());
  const mark = ["\t", ";", ",", "|"].find((each) => lines.length && lines.every((line) => line.includes(each))) ?? (lines.every((line) => /\S\s+\S/.test(line)) ? " " : ",");
  return lines.map((line) => mark === " " ? line.trim().split(/\s+/)
    : [...line.matchAll(new RegExp(`(?:^|\\${mark})(?:"((?:[^"]|"")*)"|([^\\${mark}]*))`, "g"))].map((each) => (each[1]?.replaceAll('""', '"') ?? each[2] ?? "").trim()));
};

function pasted(fields, changed) {  // the columns of a sequence, as a table that is pasted or chosen
  const id = fresh(), names = fields.map((field) => field.name);
  const isNumber = (field) => Number.isFinite(field.low);
  const area = danlu.make("textarea", { id, rows: 9, spellcheck: "false", class: "table", placeholder: `${names.join(",")}\n…`, oninput: changed });
  const file = danlu.make("input", { type: "file", id: fresh(), accept: ".csv,.tsv,.txt", onchange: async () => { if (file.files[0]) { area.value = await file.files[0].text(); changed(); } } });
  const node = danlu.make("div", { class: "field wide" },
    danlu.make("label", { for: id }, danlu.say("paste")), danlu.make("p", { class: "hint", user: true }, names.join(", ")), area,
    danlu.make("div", { class: "drop small" }, danlu.make("label", { for: file.id, class: "button" }, danlu.say("choose")), file, danlu.make("span", { class: "hint" }, danlu.say("droptable"))));
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", async (event) => { event.preventDefault(); const given = event.dataTransfer.files[0]; if (given) { area.value = await given.text(); changed(); } });
  return {
    node, id, names,
    get: () => {
      const table = danlu.rows(area.value);
      if (!table.length) throw danlu.say("notable");
      const head = names.every((name) => table[0].includes(name)) ? table.shift() : null;
      if (!head && table[0].length !== names.length) throw danlu.say("columns", names.join(", "), table[0].join(", ").slice(0, 60));
      const places = names.map((name, place) => head ? head.indexOf(name) : place);
      return Object.fromEntries(fields.map((field, place) => [field.name, table.map((row) => {
        const text = row[places[place]] ?? "";
        if (!isNumber(field)) return text;
        if (text === "") return null;
        const value = Number(text);
        if (Number.isNaN(value)) throw danlu.say("nonumber", text.slice(0, 40));
        return value;
      })]));
    },
    set: (record) => {
      if (!record || !Array.isArray(record[names[0]])) return;
      area.value = [names.join(","), ...record[names[0]].map((_, place) => names.map((name) => record[name][place] ?? "").join(","))].join("\n");
    },
  };
}

danlu.Form = class {
  // about: the model's description; changed: called after each change; fixed: whether columns may be held (for "what would change it")
  constructor(about, { changed = () => {}, fixed = false } = {}) {
    this.about = about;
    this.fields = new Map();
    this.held = new Set();
    this.node = danlu.make("div", { class: "fields" });
    const columns = about.fields.filter((field) => field.kind === "column");
    for (const field of about.fields) {
      if (field.kind === "column") {
        if (field === columns[0]) { this.pasted = pasted(columns, changed); this.node.append(this.pasted.node); }
        continue;
      }
      const alone = about.fields.length === 1 && field.kind === "text";
      const made = makers[field.kind]({ ...field, alone }, changed);
      this.fields.set(field.name, made);
      this.node.append(this.#framed(field, made, fixed));
    }
    if (about.fields.length > 16 && !columns.length) this.node.prepend(this.#filter());
    this.fill(Object.fromEntries(about.fields.map((field) => [field.name, field.example ?? null])));
  }

  #framed(field, made, fixed) {
    const wide = ["image", "sound", "array"].includes(field.kind) || (field.kind === "text" && this.about.fields.length < 4);
    const name = danlu.make("span", { user: true, class: "name" }, field.name);
    const error = danlu.make("p", { class: "error", role: "alert" });
    made.error = error;
    const open = field.kind === "category" && (field.is_open || !field.categories?.length);
    const lock = fixed && !open && ["number", "category", "boolean"].includes(field.kind) && danlu.make("button", { type: "button", class: "lock", "aria-pressed": "false", title: danlu.say("hold"), "aria-label": `${danlu.say("hold")}: ${field.name}`, onclick: () => {
      const held = lock.getAttribute("aria-pressed") !== "true";
      lock.setAttribute("aria-pressed", String(held));
      this.held[held ? "add" : "delete"](field.name);
    } });
    const frame = made.group
      ? danlu.make("div", { class: "field" }, danlu.make("fieldset", {}, danlu.make("legend", {}, name), made.node), error)
      : danlu.make("div", { class: wide ? "field wide" : "field" }, danlu.make("label", { for: made.id }, name), made.node, error);
    if (lock) frame.append(lock);
    frame.dataset.name = field.name.toLowerCase();
    return frame;
  }

  #filter() {
    const id = fresh();
    const input = danlu.make("input", { id, type: "search", placeholder: danlu.say("find"), "aria-label": danlu.say("find"), oninput: () => {
      for (const each of this.node.querySelectorAll("[data-name]")) each.hidden = !each.dataset.name.includes(input.value.trim().toLowerCase());
    } });
    return danlu.make("div", { class: "field wide filter" }, input);
  }

  get record() {  // the record; where a field is wrong it says so, and null is given
    const record = {};
    let wrong = null;
    for (const [name, field] of [...this.fields, ...(this.pasted ? [["", this.pasted]] : [])]) {
      field.error ??= field.node.appendChild(danlu.make("p", { class: "error", role: "alert" }));
      field.error.textContent = "";
      try {
        if (name) record[name] = field.get();
        else Object.assign(record, field.get());
      } catch (error) {
        if (typeof error !== "string") throw error;
        field.error.textContent = error;
        wrong ??= field;
      }
    }
    if (wrong) document.getElementById(wrong.id)?.focus();
    return wrong ? null : record;
  }

  fill(record) {
    for (const [name, value] of Object.entries(record)) this.fields.get(name)?.set(value);
    this.pasted?.set(record);
  }

  mark(names) {  // show which fields were just filled
    for (const each of this.node.querySelectorAll("[data-name]")) each.classList.toggle("filled", names.some((name) => name.toLowerCase() === each.dataset.name));
  }
};
