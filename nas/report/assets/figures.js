"use strict";
// Draws the figures of a page one after the other while the page is idle, those near the visible part first, so that it
// can be read, scrolled and clicked meanwhile. Figures are stored in light colors: on a dark screen each color is
// replaced by its dark one, and print is always light. Each figure has an event "figure-drawn" when it is drawn first.
(() => {
  const NARROW_PX = 600, PRINT_PX = 680;
  const LEGEND_ROW_PX = 19;
  const NEAR = "600px 0px"; // around the visible part: about one turn of a wheel or swipe of a finger
  const PAUSE_MS = 100; // between two figures at least, in which clicks are answered
  const LEGEND_BELOW = {
    orientation: "h", x: 0, xref: "container", xanchor: "left", y: 0, yref: "container", yanchor: "bottom",
  };
  const CONFIG = {
    displaylogo: false,
    showSendToCloud: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { filename: document.title.replace(/[^\w.=+-]+/g, "-"), scale: 2 },
  };
  // Plotly warns of the numbers that a color scale maps to colors, although it draws them well.
  Plotly.setPlotConfig({ logging: 0 });
  const darkOf = JSON.parse(document.getElementById("theme").textContent).dark;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const prints = matchMedia("print");
  const figures = [...document.querySelectorAll("[data-figure]")].map((plot) => ({
    plot,
    stored: null,
    width: null, // of the drawing; null before it is drawn
    isNear: false,
  }));
  let printing = prints.matches;

  function recolored(value) {
    if (typeof value === "string") return darkOf[value.toLowerCase()] ?? value;
    if (Array.isArray(value)) return value.map(recolored);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, recolored(each)]));
  }

  // The title is text above the figure, where it wraps; on a narrow screen the legend and the color scale are below.
  function fitted(layout, width) {
    const narrow = width < NARROW_PX;
    const made = { ...layout, autosize: false, width, uirevision: "kept" };
    const titled = Boolean(layout.title && layout.title.text);
    delete made.title;
    made.margin = { ...layout.margin, ...(titled ? { t: 36 } : {}), ...(narrow ? { l: 24, r: 14 } : {}) };
    if (!narrow) return made;
    made.font = { ...layout.font, size: 12 };
    made.legend = { ...layout.legend, ...LEGEND_BELOW };
    for (const name of Object.keys(layout).filter((each) => /^[xy]axis\d*$/.test(each))) {
      const axis = layout[name];
      if (axis.title) made[name] = { ...axis, title: { ...axis.title, font: { ...axis.title.font, size: 12 } } };
    }
    return made;
  }

  // Several plots in one figure are in fewer columns on a narrow screen, each of the same size as before.
  function regridded(layout) {
    const suffixes = Object.keys(layout).filter((each) => /^xaxis\d*$/.test(each)).map((each) => each.slice(5));
    const columns = Math.min(layout.meta?.narrow_columns ?? 1, suffixes.length);
    if (suffixes.length < 2) return [layout, 1];
    const rows = Math.ceil(suffixes.length / columns), made = { ...layout };
    const wide = (1 - 0.03 * (columns - 1)) / columns;
    suffixes.sort((a, b) => (a || 1) - (b || 1)).forEach((suffix, number) => {
      const row = Math.floor(number / columns), column = number % columns;
      const [x, y] = [layout["xaxis" + suffix], layout["yaxis" + suffix]];
      made["xaxis" + suffix] = {
        ...x, domain: [column * (wide + 0.03), Math.min(1, column * (wide + 0.03) + wide)],
        showticklabels: number + columns >= suffixes.length,
      };
      made["yaxis" + suffix] = {
        ...y, domain: [1 - (row + 1) / rows + (row + 1 < rows ? 0.25 / rows : 0), 1 - row / rows],
        showticklabels: column === 0,
      };
      const scale = layout["coloraxis" + suffix];
      if (scale) {
        const bar = { ...scale.colorbar, x: 1, y: 1 - (row + 0.4) / rows, len: 0.5 / rows };
        made["coloraxis" + suffix] = { ...scale, colorbar: bar };
      }
    });
    return [made, columns === 1 ? 0.8 * rows : 0.32 * rows];
  }

  function draw(figure) {
    const { plot } = figure;
    figure.stored ??= JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    const width = printing ? PRINT_PX : plot.clientWidth;
    const isDark = prefersDark.matches && !printing;
    const { data, layout } = isDark ? recolored(figure.stored) : structuredClone(figure.stored);
    const [placed, taller] = width < NARROW_PX ? regridded(layout) : [layout, 1];
    const rows = width < NARROW_PX ? data.filter((trace) => trace.name && trace.showlegend !== false).length : 0;
    const height = (parseFloat(getComputedStyle(plot).minHeight) || 480) * Math.max(1, taller) + LEGEND_ROW_PX * rows;
    figure.width = width;
    return Plotly.react(plot, data, { height, ...fitted(placed, width) }, CONFIG).then(() => {
      for (const drawing of plot.querySelectorAll("svg.main-svg")) drawing.setAttribute("aria-hidden", "true");
      if (plot.isThinned) return;
      plot.isThinned = true;
      plot.on("plotly_afterplot", () => thinLabels(plot));
      thinLabels(plot);
      plot.dispatchEvent(new Event("figure-drawn", { bubbles: true }));
    });
  }

  // A figure that cannot be drawn says so in its place, and the others are drawn.
  const attempt = (figure) => new Promise((resolve) => resolve(draw(figure))).catch((error) => {
    figure.width ??= figure.plot.clientWidth;
    figure.plot.textContent = "This figure could not be drawn.";
    console.error(error);
  });

  // Labels of points that would cover another one, or would be cut off at the edge of the plot, are hidden. The last
  // ones stay: traces that are drawn later matter more. A wider window, or a zoom, shows more of them.
  function thinLabels(plot) {
    const area = plot.querySelector(".nsewdrag");
    if (!area) return;
    const bounds = area.getBoundingClientRect(), kept = [];
    const labels = [...plot.querySelectorAll(".textpoint text")].filter((each) => each.textContent);
    for (const label of labels) label.style.visibility = "";
    for (const label of labels.reverse()) {
      const box = label.getBoundingClientRect();
      const inside = box.left >= bounds.left && box.right <= bounds.right && box.top >= bounds.top - 2;
      const free = kept.every((each) => box.left >= each.right || each.left >= box.right
        || box.top >= each.bottom || each.top >= box.bottom);
      if (inside && free) kept.push(box);
      else label.style.visibility = "hidden";
    }
  }

  const redraw = () => Promise.all(figures.filter((each) => each.width !== null).map(attempt));
  const drawAll = () => Promise.all(figures.map(attempt));

  // An idle callback runs after what the reader did was answered; not every browser has them.
  const idle = window.requestIdleCallback
    ? () => new Promise((resolve) => requestIdleCallback(resolve, { timeout: 1000 }))
    : () => Promise.resolve();
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS)).then(idle);

  async function start() {
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        figures.find((each) => each.plot === target).isNear = isIntersecting;
      }
    }, { rootMargin: NEAR });
    for (const { plot } of figures) observer.observe(plot);
    new ResizeObserver(() => {
      if (!printing) figures.filter((each) => ![null, each.plot.clientWidth].includes(each.width)).forEach(attempt);
    }).observe(document.body);
    const waiting = () => figures.filter((each) => each.width === null);
    while (waiting().length) {
      await pause();
      const left = waiting(); // printing may have drawn all meanwhile
      if (left.length) await attempt(left.find((each) => each.isNear) ?? left[0]);
    }
    observer.disconnect();
    document.documentElement.dataset.figures = "drawn";
    document.dispatchEvent(new Event("figures-drawn"));
  }

  function print(starts) {
    if (printing === starts) return;
    printing = starts;
    drawAll();
  }

  prefersDark.addEventListener("change", redraw);
  prints.addEventListener("change", () => print(prints.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  window.nas = { figures, draw: attempt, drawAll };
  start();
})();
