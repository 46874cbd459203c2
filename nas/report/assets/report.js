"use strict";
// Selects a network of a report by its point or its row, copies commands, and loads a page that is written again.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const { study, refresh_s: refreshSeconds, networks } = read("report-state");
  const columns = read("report-columns");
  const byNumber = new Map(networks.map((each) => [each.number, each]));
  const KEY = `nas report ${location.pathname} ${study}`;
  const find = (id) => document.getElementById(id);

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // The policies of browsers may forbid storage for files; the page then starts at its beginning.
  function stored() {
    try {
      return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  }
  function store(values) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...stored(), ...values }));
    } catch { /* see above */ }
  }

  const short = (value) => (value >= 1e6 ? `${(value / 1e6).toPrecision(4)}M` : String(value));
  const amount = (value, unit) => {
    if (value === null) return "unknown";
    return unit.startsWith("bytes") ? `${(value / 1e6).toFixed(2)} MB` : `${short(value)} ${unit}`.trim();
  };

  // The summary of a trial without texts, from the columns of all trials.
  function summary(number) {
    const known = byNumber.get(number);
    if (known) return known;
    const place = columns.numbers.indexOf(number);
    if (place < 0) return null;
    const state = typeof columns.states === "string" ? columns.states : columns.states[place];
    return {
      number,
      name: `trial ${number}`,
      roles: [`${state}, one evaluation`],
      accuracy: `${(100 * columns.accuracies[place]).toFixed(2)}%`,
      costs: columns.costs.map((cost) => [cost.name, amount(cost.values[place], cost.unit)]),
      text: "",
      commands: columns.commands.map(([what, text]) => [what, text.replaceAll(columns.any, number)]),
    };
  }

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  function commandOf([what, text]) {
    const made = element("div", { className: "command" });
    const button = element("button", { type: "button", className: "copy no-print" }, "Copy");
    button.dataset.copy = "";
    button.append(element("span", { className: "for-screen-readers" }, " the command"));
    made.append(element("p", { className: "what" }, `${capital(what)}:`), element("pre", { tabIndex: 0 }, text), button);
    return made;
  }

  function select(number, { isSaid = true } = {}) {
    const network = summary(number);
    if (!network || !find("selected")) return;
    find("selected-title").textContent = capital(network.name);
    find("selected-summary").textContent = network.roles.join("; ");
    find("selected-costs").replaceChildren(
      ...[[columns.accuracy, network.accuracy], ...network.costs].map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
    find("selected-commands").replaceChildren(...network.commands.map(commandOf));
    find("selected-architecture").hidden = !network.text;
    find("selected-architecture").querySelector("pre").textContent = network.text;
    for (const button of document.querySelectorAll("[data-choose]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.choose) === number));
    }
    if (isSaid) find("said").textContent = `${capital(network.name)} is selected: ${network.accuracy}.`;
    mark(number);
    store({ selected: number });
  }

  // A ring around the selected point. It is a mark of the page, and not a trace of the stored figure.
  let marked = null;
  function mark(number) {
    marked = number;
    const plot = find("front-plot");
    if (!plot || !plot.data) return;
    let at = null;
    for (const trace of plot.data) {
      const place = trace.customdata ? [...trace.customdata].indexOf(number) : -1;
      if (place >= 0) at = [trace.x[place], trace.y[place]];
    }
    const kept = (plot.layout.annotations ?? []).filter((each) => each.name !== "selected");
    const label = at && {
      name: "selected", x: at[0], y: at[1], text: "selected", showarrow: true, arrowhead: 2, ax: 0, ay: 38,
      font: { size: 13 }, bgcolor: plot.layout.paper_bgcolor,
    };
    Plotly.relayout(plot, { annotations: label ? [...kept, label] : kept });
  }

  async function copy(button) {
    const text = button.closest(".command").querySelector("pre").textContent;
    const words = button.firstChild;
    try {
      await navigator.clipboard.writeText(text);
      words.textContent = "Copied";
      if (find("said")) find("said").textContent = "The command was copied.";
    } catch {
      getSelection().selectAllChildren(button.closest(".command").querySelector("pre"));
      words.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { words.textContent = "Copy"; }, 2500);
  }

  document.addEventListener("click", (event) => {
    const choose = event.target.closest("[data-choose]");
    if (choose) select(Number(choose.dataset.choose));
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;

  const saved = stored();
  const first = networks.length ? networks[0].number : null;
  if (Number.isInteger(saved.selected) && saved.selected !== first) select(saved.selected, { isSaid: false });

  document.addEventListener("figure-drawn", ({ target }) => {
    if (target !== find("front-plot")) return;
    target.on("plotly_click", ({ points }) => {
      const number = points.map((point) => point.customdata).find(Number.isInteger);
      if (number !== undefined) select(number);
    });
    if (marked !== null) mark(marked);
  });

  if (refreshSeconds) {
    const box = find("refresh");
    find("refreshing").hidden = false;
    box.checked = saved.refresh !== false;
    box.addEventListener("change", () => store({ refresh: box.checked }));
    // Figures may be taller when they are drawn; whoever has scrolled since keeps the new place.
    const restore = () => { if (Number.isFinite(saved.scroll)) scrollTo(0, saved.scroll); };
    const moved = new AbortController();
    for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      addEventListener(name, () => moved.abort(), { passive: true, signal: moved.signal });
    }
    restore();
    document.addEventListener("figures-drawn", restore, { signal: moved.signal });
    addEventListener("pagehide", () => store({ scroll: scrollY }));
    setInterval(() => {
      if (!box.checked || document.hidden) return;
      store({ scroll: scrollY });
      location.reload();
    }, 1000 * refreshSeconds);
  }
  document.documentElement.dataset.report = "ready";
})();
