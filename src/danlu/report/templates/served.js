// The page of a service: asks it for the answer, why, and what would change it.
const about = JSON.parse(document.getElementById("about").textContent), { make, say } = danlu;
const at = (id) => document.getElementById(id);
let token = window.danluToken ?? null;  // from the door, see door.js

danlu.ask = async (path, body) => {  // what the service answers; throws its message
  const headers = { "Content-Type": "application/json", "Accept-Language": document.documentElement.lang };
  if (token) headers.Authorization = `Bearer ${token}`;
  let reply;
  try {
    reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin" });
  } catch { throw { message: say("gone") }; }
  const text = await reply.text();
  let told = null;
  try { told = JSON.parse(text); } catch { /* not from the service itself */ }
  if (reply.status === 401) throw { message: say("token"), token: true };
  if (!reply.ok || told === null) throw { status: reply.status, message: told?.error ?? `${reply.status} ${text.slice(0, 200)}`, hint: told?.hint };
  return told;
};

danlu.failure = (error, again) => {  // a message with what to do, and where a token lacks, a place for it
  if (!error.message || error instanceof Error) throw error;
  const told = make("div", { class: "failed", role: "alert" }, error.message, error.hint ? make("small", {}, error.hint) : null);
  if (!error.token) return [told];
  const input = make("input", { type: "password", autocomplete: "off", "aria-label": say("token") });
  return [told, make("form", { class: "row ask", onsubmit: (event) => { event.preventDefault(); token = input.value.trim(); again(); } }, input, make("button", { class: "quiet" }, say("enter")))];
};

new ResizeObserver(() => {  // what is answered stays in sight beside a long form, its end too where it is long itself
  at("replies").style.top = `${Math.min(16, innerHeight - at("replies").offsetHeight - 16)}px`;
}).observe(at("replies"));

if (at("form")) {
  let last = null, current = 0, timer = null;
  const form = new danlu.Form(about, { changed: () => { form.mark([]); later(); }, fixed: about.changes });
  const pictured = () => [...form.fields.values()].find((field) => field.uri)?.uri() ?? null;
  at("fields").append(form.node);

  const part = async (name, work) => {  // fills a part of the page, and shows that it waits
    const box = at(name), frame = box.closest("section"), mine = current;
    frame.hidden = false;
    frame.querySelector("h2").classList.add("busy");
    frame.setAttribute("aria-busy", "true");
    try {
      const nodes = await work();
      if (mine === current && nodes) { box.replaceChildren(...nodes); box.classList.remove("stale"); }
    } catch (error) {
      if (mine === current) box.replaceChildren(...danlu.failure(error, () => answer(true)));
      return false;
    } finally {
      if (mine === current) { frame.querySelector("h2").classList.remove("busy"); frame.removeAttribute("aria-busy"); }
    }
    return mine === current;
  };

  async function answer(whole) {
    const record = form.record;
    if (!record) return;
    current += 1;
    clearTimeout(timer);
    const uri = pictured();
    if (!whole) for (const name of ["why", "change"]) at(name)?.classList.add("stale");
    const good = await part("answer", async () => {
      const told = await danlu.ask(about.paths.predict, { records: [record] });
      last = record;
      const reply = (told.answers ?? told.predictions ?? told)[0], notes = told.notes ?? [];
      const nodes = await danlu.answer(about, reply, record, uri);
      if (about.task === "language") nodes.splice(0, nodes.length, ...await written(record, reply));
      if (notes.length) nodes.push(make("ul", { class: "notes" }, ...notes.map((note) => make("li", {}, note))));
      if (!whole && about.explains) nodes.push(make("p", { class: "row" }, make("button", { type: "button", class: "quiet", onclick: () => answer(true) }, say("update"))));
      return nodes;
    });
    if (!good || !whole) return;
    if (innerWidth <= 900) at("replies").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    if (about.explains) await part("why", async () => danlu.why(about, (await danlu.ask(about.paths.explain, { records: [record], changes: 0 })).explanations[0], uri));
    if (about.changes && about.task !== "regression") await change(record);
  }

  let seed = 0;
  const written = async (record, reply) => {  // a language model goes on with a text
    const prompt = Object.values(record)[0], told = await danlu.ask(about.paths.generate, { prompt, length: 200, temperature: 0.8, seed: seed++ });
    const own = told.texts[0].startsWith(prompt) ? prompt : "";
    return [make("p", { class: "headline text", user: true }, own, make("b", {}, told.texts[0].slice(own.length))), make("p", { class: "note" }, say("perplexity", percent(Math.exp(-reply.loss))))];
  };

  async function change(record) {
    const to = about.task === "regression" ? { to: `${at("side").value}${at("bound").value.trim().replace("−", "-")}` } : {};
    await part("change", async () => {
      const told = await danlu.ask(about.paths.explain, { records: [record], changes: 3, keep: [...form.held], attributions: false, ...to });
      return danlu.changes(about, record, told.explanations[0].counterfactuals ?? [], (changes) => { form.fill(changes); form.mark(Object.keys(changes)); answer(false); at("h-form").scrollIntoView({ block: "nearest" }); });
    });
  }

  function later() {  // after a pause in changing a row of a table, the answer alone is asked for again
    if (!last || !["table", "agent"].includes(about.kind)) return;
    clearTimeout(timer);
    timer = setTimeout(() => answer(false), 350);
  }

  at("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = at("form").querySelector(".go");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try { await answer(true); } finally { button.setAttribute("aria-disabled", "false"); }
  });
  if (at("look")) {
    at("change-part").hidden = false;
    const look = () => { const record = form.record; if (record) { last = record; change(record); } };
    at("look").addEventListener("click", look);
    at("bound").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); look(); } });
  }
}
