"use strict";
// Draws the figures of a page one after the other, so that the page can be read and scrolled meanwhile. Figures are
// stored in light colors: on a dark screen each color is replaced by its dark one, and print is always light.
(() => {
  const NARROW_PX = 600, PRINT_PX = 680;
  const LEGEND_ROW_PX = 19;
  const LEGEND_BELOW = {
    orientation: "h", x: 0, xref: "container", xanchor: "left", y: 0, yref: "container", yanchor: "bottom",
  };
  const CONFIG = {
    displaylogo: false,
    showSendToCloud: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { filename: document.title.replace(/[^\w.=+-]+/g, "-"), scale: 2 },
  };
  const darkOf = JSON.parse(document.getElementById("theme").textContent).dark;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const prints = matchMedia("print");
  const figures = [...document.querySelectorAll("[data-figure]")].map((plot) => ({
    plot,
    stored: JSON.parse(document.getElementById(plot.dataset.figure).textContent),
    width: 0,
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

  function draw(figure) {
    const { plot, stored } = figure;
    const width = printing ? PRINT_PX : plot.clientWidth;
    const isDark = prefersDark.matches && !printing;
    const { data, layout } = isDark ? recolored(stored) : structuredClone(stored);
    const rows = width < NARROW_PX ? data.filter((trace) => trace.name && trace.showlegend !== false).length : 0;
    const height = (parseFloat(getComputedStyle(plot).minHeight) || 480) + LEGEND_ROW_PX * rows;
    figure.width = width;
    return Plotly.react(plot, data, { height, ...fitted(layout, width) }, CONFIG).then(() => {
      for (const drawing of plot.querySelectorAll("svg.main-svg")) drawing.setAttribute("aria-hidden", "true");
    });
  }

  const drawAll = () => Promise.all(figures.filter((each) => each.width).map(draw));
  const pause = () => new Promise((resolve) => setTimeout(resolve));

  async function start() {
    for (const figure of figures) {
      await pause();
      await draw(figure);
    }
    new ResizeObserver(() => {
      if (!printing) figures.filter((each) => each.plot.clientWidth !== each.width).forEach(draw);
    }).observe(document.body);
    document.documentElement.dataset.figures = "drawn";
    document.dispatchEvent(new Event("figures-drawn"));
  }

  function print(starts) {
    if (printing === starts) return;
    printing = starts;
    drawAll();
  }

  prefersDark.addEventListener("change", drawAll);
  prints.addEventListener("change", () => print(prints.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  window.nas = { figures, draw, drawAll };
  start();
})();
