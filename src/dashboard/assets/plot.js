// Plots by uPlot, each with a legend that says the values under the cursor, and a table behind it.

import { h, say } from "./dom.js";

const TABLE_ROWS = 60;
const drawn = new Set();

/** The colour of a custom property as the scheme of the moment has it. */
function colour(name) {
  const probe = h("span", { style: { color: `var(${name})` } });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Redraws everything in the colours of another scheme. */
export function recolour() {
  drawn.forEach((plot) => plot.redraw());
}

/**
 * `{ title, x: "time" | "percentile" | "label", series: [{ label, format, kind: "line" | "bars" | "band" }], height }`, where `update(xs, columns, shown)` draws; `shown` are
 * the values to say where they are not what is drawn, as in layers.
 * Answers `{ element, update, close }`.
 */
export function plot(options) {
  const format = (place, value) => (value === null || value === undefined ? "–" : (options.series[place].format ?? String)(value));
  const canvas = h("div", { class: "canvas" });
  const shade = h("p", { class: "shade", hidden: true }, options.empty ?? "Nothing to draw yet");
  const legend = h("ul", { class: "legend" });
  const rows = h("tbody");
  const headings = [options.xTitle ?? "Time", ...options.series.map((series) => series.label)];
  const header = h("tr", null, ...headings.map((text, place) => h("th", { scope: "col", class: place ? "number" : "" }, text)));
  const table = h("table", null, h("caption", { class: "hidden-text" }, options.title), h("thead", null, header), rows);
  const details = h("details", null, h("summary", null, "Show as table"), h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": options.title + ", table" }, table));
  const figure = h("div", { role: "img", "aria-label": options.title }, canvas, shade);
  const element = h("div", { class: "plot" }, figure, legend, details);
  let [chart, data, said, values] = [null, null, null, []];

  options.series.forEach((series, place) => {
    const value = h("b", null, "–");
    values.push(value);
    const swatch = h("i", { style: { background: `var(${series.colour ?? "--c" + ((place % 8) + 1)})` } });
    legend.append(h("li", { hidden: series.silent }, swatch, series.label + " ", value));
  });

  const xText = (x) => (options.xFormat ? options.xFormat(x) : new Date(x * 1000).toLocaleTimeString("en-GB"));

  function showValues(place) {
    if (!data) return;
    // Without a cursor the latest value that there is.
    const value = (column) => (typeof place === "number" ? column[place] : column.findLast((value) => value !== null && value !== undefined));
    options.series.forEach((_, index) => say(values[index], format(index, value(said[index]))));
  }

  function showTable() {
    if (!details.open || !data) return;
    const first = Math.max(0, data[0].length - TABLE_ROWS);
    const lines = data[0].slice(first).map((x, place) => {
      const cells = options.series.map((_, index) => h("td", { class: "number" }, format(index, said[index][first + place])));
      return h("tr", null, h("th", { scope: "row" }, xText(x)), ...cells);
    });
    rows.replaceChildren(...lines.reverse());
  }

  function make() {
    chart?.destroy();
    chart = null;
    if (!data || canvas.clientWidth === 0) return;
    const [ink, line] = [colour("--faint"), colour("--line")];
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const series = options.series.map((one, place) => {
      const stroke = colour(one.colour ?? "--c" + ((place % 8) + 1));
      const fill = stroke.replace(")", " / 0.12)").replace(/^rgb\((\d+), (\d+), (\d+)/, "rgb($1 $2 $3");
      const bars = one.kind === "bars" ? { paths: uPlot.paths.bars({ size: [0.72, 64] }), fill: stroke, stroke, width: 0 } : {};
      const band = one.kind === "edge" ? { stroke: "transparent", width: 0 } : {};
      return { label: one.label, stroke, width: 1.75, fill: one.area ? fill : undefined, points: { show: one.points ?? false, size: 5 }, dash: one.dash, spanGaps: options.gaps ?? false, ...bars, ...band };
    });
    const percentile = options.x === "percentile";
    chart = new uPlot(
      {
        width: canvas.clientWidth,
        height: options.height ?? 192,
        legend: { show: false },
        cursor: { y: false, drag: { setScale: false } },
        padding: [10, 24, 0, 0],
        scales: {
          x: { time: options.x === undefined || options.x === "time", distr: percentile ? 3 : 1, ...(options.xRange ? { range: options.xRange } : {}) },
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), (options.top ?? 0) || Math.max(high ?? 0, options.least ?? 0) * 1.08 || 1] },
        },
        axes: [
          { ...axis, size: 34, grid: { show: false }, ...(options.xSplits ? { splits: options.xSplits } : {}), ...(options.xFormat ? { values: (_, splits) => splits.map((x) => (x === null ? "" : options.xFormat(x))) } : { values: clockTexts }), space: 70 },
          { ...axis, size: 62, values: (_, splits) => splits.map((value) => format(0, value)) },
        ],
        bands: (options.bands ?? []).map(([upper, lower, name]) => ({ series: [upper + 1, lower + 1], fill: colour(name).replace(/^rgb\((\d+), (\d+), (\d+)\)/, "rgb($1 $2 $3 / 0.18)") })),
        series: [{}, ...series],
        hooks: { setCursor: [(self) => showValues(self.cursor.idx)] },
      },
      data,
      canvas,
    );
  }

  const sizes = new ResizeObserver(() => {
    if (!chart) make();
    else if (Math.abs(chart.width - canvas.clientWidth) > 1) chart.setSize({ width: canvas.clientWidth, height: options.height ?? 192 });
  });
  sizes.observe(canvas);
  details.addEventListener("toggle", showTable);
  const self = {
    element,
    redraw: make,
    update(xs, columns, shown) {
      [data, said] = [[xs, ...columns], shown ?? columns];
      shade.hidden = xs.length > 0 && columns.some((column) => column.some((value) => value !== null && value !== undefined));
      if (chart) chart.setData(data);
      else make();
      showValues(chart?.cursor.idx);
      showTable();
    },
    close() {
      drawn.delete(self);
      sizes.disconnect();
      chart?.destroy();
    },
  };
  drawn.add(self);
  return self;
}

/** Seconds only where minutes would be said twice. */
function clockTexts(_, splits) {
  const close = splits.length > 1 && splits[1] - splits[0] < 60;
  const parts = { hour: "2-digit", minute: "2-digit", ...(close ? { second: "2-digit" } : {}) };
  return splits.map((x) => new Date(x * 1000).toLocaleTimeString("en-GB", parts));
}
