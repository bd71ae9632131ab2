// A model within the page: a file of ONNX, run by onnxruntime-web. Nothing is asked of any server.
const about = JSON.parse(document.getElementById("about").textContent), { make, say } = danlu;

const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (sign) => sign.charCodeAt(0));
const unzipped = async (id) => {
  const stream = new Blob([bytes(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

async function started() {
  const address = URL.createObjectURL(new Blob([await unzipped("runtime")], { type: "text/javascript" }));
  const runtime = await import(address);
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmBinary = (await unzipped("machine")).buffer;
  return [runtime, await runtime.InferenceSession.create(await unzipped("model"), { executionProviders: ["wasm"] })];
}

// The inputs of the file for one record: {name: [type, values, shape]}.
const inputs = {
  table(record) {
    const one = ({ name, type }) => type === "number" ? ["float64", Float64Array.of(record[name] ?? NaN), [1]]
      : ["string", [record[name] == null ? "" : String(record[name])], [1]];
    return Object.fromEntries(about.inputs.map((each) => [each.name, one(each)]));
  },
  image: (record) => ({ image: ["uint8", Uint8Array.from(record.pixels), [1, about.picture.height, about.picture.width, about.picture.channels]] }),
  text: (record) => Object.fromEntries(Object.entries(encodedText(record[about.fields[0].name], about.text)).map(([name, numbers]) => [name, ["int32", numbers, [1, numbers.length]]])),
};

// What the file answers, as danlu's own service writes it.
function replyOf(found) {
  const { outputs, classes, target } = about, own = (name) => [...(found[outputs[name]]?.data ?? [])];
  const [low, high] = [own("low")[0], own("high")[0]];
  if (outputs.value) return { [target]: own("value")[0], ...(outputs.low ? { low, high } : {}) };
  const chances = Object.fromEntries(classes.map((name, place) => [`probability ${name}`, own("probabilities")[place]]));
  if (outputs.labels) { const has = own("labels"); return { [target]: classes.filter((_, place) => has[place]), ...chances }; }
  const inside = own("members");
  return { [target]: own("label")[0], ...(outputs.members ? { set: classes.filter((_, place) => inside[place]) } : {}), ...chances };
}

// The page in one of its languages, that of its address before that of the browser.
const language = ["en", "zh"].find((each) => location.hash === `#${each}`) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
document.documentElement.lang = language;
document.body.append(document.getElementById(`page-${language}`).content.cloneNode(true));
document.querySelector(`.switch [lang=${language}]`).setAttribute("aria-current", "true");
for (const link of document.querySelectorAll(".switch a")) link.addEventListener("click", () => setTimeout(() => location.reload()));

const at = (id) => document.getElementById(id), running = started();
running.catch(() => {});  // it is said when the model is asked
let current = 0, timer = null;
const form = new danlu.Form(about, { changed: () => {
  clearTimeout(timer);
  if (about.picture && !picture().uri()) at("answer").replaceChildren();  // it was wiped out
  else timer = setTimeout(answer, 300);
} });
const picture = () => [...form.fields.values()][0];
at("fields").append(form.node);
at("form").addEventListener("submit", (event) => { event.preventDefault(); answer(); });

async function answer() {
  const record = form.record, mine = ++current;
  clearTimeout(timer);
  if (!record) return;
  const head = at("h-answer");
  head.classList.add("busy");
  const late = setTimeout(() => at("answer").replaceChildren(make("p", { class: "empty" }, say("waiting"))), 400);
  let nodes;
  try {
    nodes = await answered(record);
  } catch (error) {
    nodes = [make("div", { class: "failed", role: "alert" }, typeof error === "string" ? error : `${error.name}: ${error.message}`)];
  }
  clearTimeout(late);
  if (mine !== current) return;
  head.classList.remove("busy");
  at("answer").replaceChildren(...nodes);
}

async function answered(record) {
  let runtime, session, seen = null;
  try { [runtime, session] = await running; }
  catch (error) { throw say("cannot_run", error.message); }
  if (about.picture) {
    const file = await (await fetch(picture().uri())).blob();
    seen = await pixelsOf(file, about.picture, !picture().canvas.hidden);
    record = { ...record, pixels: seen.pixels };
  }
  const given = Object.entries(inputs[about.enters](record)).map(([name, [type, data, shape]]) => [name, new runtime.Tensor(type, data, shape)]);
  const reply = replyOf(await session.run(Object.fromEntries(given)));
  const nodes = await danlu.answer(about, reply, record, about.picture ? picture().uri() : null);
  return seen ? [...nodes, shownPixels(seen.pixels, about.picture, seen.as)] : nodes;
}

if (about.enters === "table") answer();  // of the examples that the form begins with
