// A game against an agent, and a film of one.
if (about.game) {
  const box = at("game"), game = about.game, drop = game.moves === game.columns;
  const status = make("p", { role: "status" }), board = make("div", { class: drop ? "board" : "board squares", role: "group", "aria-label": about.heading });
  let moves = [], agentBegins = false, shown = null, waiting = false;
  board.style.gridTemplateColumns = `repeat(${game.columns}, minmax(0, 1fr))`;

  const man = (letter, fresh) => {
    const mine = letter !== "." && (letter === "X") !== agentBegins;
    return make("span", { class: letter === "." ? "man hole" : `man ${mine ? "mine" : "theirs"}${fresh ? " new" : ""}`, "aria-hidden": "true" });
  };
  function draw(told) {
    told.board = told.board.map((row) => [...row]);
    const before = shown?.board;
    shown = told;
    const focused = [...board.children].indexOf(document.activeElement?.closest(".board > *"));
    const fresh = (row, column) => before && before[row][column] === "." && told.board[row][column] !== ".";
    const legal = new Set(told.ended ? [] : told.legal);
    const button = (move, name, ...men) => make("button", { type: "button", "aria-label": name, disabled: !legal.has(move), class: "column", onclick: () => play(move) }, ...men);
    board.replaceChildren(...(drop
      ? told.board[0].map((_, column) => button(column, `${say("column", column + 1)}: ${told.board.map((row) => row[column]).join(" ")}`, ...told.board.map((row, at) => man(row[column], fresh(at, column)))))
      : told.board.flatMap((row, y) => row.map((letter, x) => button(y * game.columns + x, `${say("square", y + 1, x + 1)} ${letter}`, man(letter, fresh(y, x)))))));
    if (focused >= 0) (board.children[focused].disabled ? board.querySelector("button:not(:disabled)") : board.children[focused])?.focus();
    pass.hidden = !legal.has(game.rows * game.columns) || drop;
    status.textContent = told.ended ? say(told.result > 0 ? "won" : told.result < 0 ? "lost" : "drawn") : say("yourturn");
    at("answer").replaceChildren(...thoughts(told));
  }
  function thoughts(told) {
    const nodes = [];
    const name = (move) => drop ? say("column", move + 1) : move >= game.rows * game.columns ? say("pass") : say("square", Math.floor(move / game.columns) + 1, move % game.columns + 1);
    if (told.played !== null && told.played !== undefined) nodes.push(make("p", { class: "headline" }, make("b", {}, say("itsmove", name(told.played)))));
    if (typeof told.value === "number") nodes.push(make("p", { class: "sure" }, say("itshopes", percent((told.value + 1) / 2))));
    if (told.leaning?.length) nodes.push(make("h3", {}, say("itsplan")), shares(told.leaning.map((p, move) => [name(move), p]).filter(([, p]) => p > 0.001), [name(told.played)], 7));
    return nodes.length ? nodes : [make("p", { class: "empty" }, say("yourturn"))];
  }
  async function patiently(body) {  // the first move of a service takes long: it is compiled
    for (let tries = 0; ; tries++) {
      try { return await danlu.ask(about.paths.play, body); } catch (error) {
        if (error.status !== 504 || tries > 8) throw error;
        status.textContent = say("ready");
      }
    }
  }
  async function turn() {
    if (waiting) return;
    waiting = true;
    board.setAttribute("aria-busy", "true");
    status.textContent = say("waiting");
    try {
      const told = await patiently({ moves, agent_begins: agentBegins });
      moves = told.moves;
      draw(told);
    } catch (error) { moves = shown?.moves ?? []; status.replaceChildren(...danlu.failure(error, turn)); } finally { waiting = false; board.removeAttribute("aria-busy"); }
  }
  const play = (move) => { if (!waiting && shown && !shown.ended) { moves = [...moves, move]; turn(); } };
  const begin = (second) => { moves = []; shown = null; agentBegins = second; turn(); };
  const pass = make("button", { type: "button", class: "quiet", hidden: true, onclick: () => play(game.rows * game.columns) }, say("pass"));
  board.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: drop ? 0 : game.columns, ArrowUp: drop ? 0 : -game.columns }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...board.children];
    let place = all.indexOf(document.activeElement) + step;
    while (all[place]?.disabled) place += step;
    all[place]?.focus();
  });
  box.append(status, board, make("p", { class: "row ask" }, make("button", { type: "button", class: "quiet", onclick: () => begin(false) }, say("newgame")), make("button", { type: "button", class: "quiet", onclick: () => begin(true) }, say("newsecond")), pass));
  begin(false);
  danlu.ask(about.paths.play, { moves: [], agent_begins: true }).catch(() => {});  // so that it is ready when the first move is made
}

if (about.watch && at("watch")) {
  const box = at("watch"), film = make("img", { class: "film", alt: "" }), told = make("p", { class: "note", role: "status" });
  const slider = make("input", { type: "range", min: 0, value: 0, "aria-label": say("episode"), oninput: () => { stop(); show(Number(slider.value)); } });
  const button = make("button", { type: "button", class: "quiet", onclick: () => timer ? stop() : start() }, say("play"));
  const thought = make("div", { class: "thought" });
  let episode = null, timer = null, seed = 0;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = say("play"); };
  const start = () => {
    if (!episode?.frames.length) return;
    if (Number(slider.value) >= episode.frames.length - 1) show(0);
    button.textContent = say("pause");
    timer = setInterval(() => Number(slider.value) >= episode.frames.length - 1 ? stop() : show(Number(slider.value) + 1), 60);
  };
  function show(place) {
    slider.value = place;
    film.src = episode.frames[place];
    const step = Math.min(place * episode.every, episode.actions.length - 1), leaning = episode.leaning?.[step];
    thought.replaceChildren(make("p", { class: "sure" }, say("step", step + 1, episode.actions.length)),
      Array.isArray(leaning) ? shares(leaning.map((p, action) => [say("action", action), p]), [say("action", episode.actions[step])], 8) : make("p", {}, say("action", [].concat(episode.actions[step]).map((each) => danlu.figure(each)).join(", "))),
      episode.value ? make("p", { class: "note" }, say("value", danlu.figure(episode.value[step]))) : "");
  }
  async function watch() {
    stop();
    box.classList.add("stale");
    try {
      episode = await danlu.ask(about.paths.watch, { seed: seed++ });
      slider.max = Math.max(0, episode.frames.length - 1);
      film.hidden = !episode.frames.length;
      film.alt = say("filmed", episode.actions.length, danlu.figure(episode.return, 4));
      told.textContent = film.hidden ? say("nofilm") : film.alt;
      if (!film.hidden) { show(0); if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start(); }
    } catch (error) { told.replaceChildren(...danlu.failure(error, watch)); } finally { box.classList.remove("stale"); }
  }
  box.append(film, make("div", { class: "row player" }, button, slider, make("button", { type: "button", class: "quiet", onclick: watch }, say("episode"))), told, thought);
  watch();
}
