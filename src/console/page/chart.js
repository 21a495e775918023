// The chart of a sale: stock as it was shared out, and how fast it moved. Drawn by uPlot.

import { useEffect, useRef } from "./vendor/hooks.js";
import { html } from "./ui.js";
import { useStore } from "./store.js";
import { theme } from "./shell.js";

let drawing;
/** The library and its styles, fetched by the first chart. */
function library() {
  drawing ??= (async () => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("./vendor/uplot.css", import.meta.url).href;
    document.head.append(sheet);
    return (await import("./vendor/uplot.js")).default;
  })();
  return drawing;
}

const minutes = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const fade = (hex, alpha) => `${hex}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;

/** `series` are `{label, colour, values}`; stacked ones stand on each other, the first at the bottom. */
export function Chart({ label, times, series, stacked, height = 240 }) {
  const box = useRef(null);
  const plot = useRef(null);
  const look = useStore(theme);
  const data = [times, ...(stacked ? pile(series) : series.map(({ values }) => values))];
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    let gone = false;
    let watch;
    library().then((Plot) => {
      if (gone || !box.current) return;
      const width = () => Math.max(200, box.current?.clientWidth ?? 600);
      plot.current = new Plot(options(series, stacked, width(), height), latest.current, box.current);
      watch = new ResizeObserver(() => plot.current?.setSize({ width: width(), height }));
      watch.observe(box.current);
    });
    return () => {
      gone = true;
      watch?.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [look, height]);
  useEffect(() => plot.current?.setData(data));
  return html`<div class=${height < 200 ? "chart low" : "chart"} ref=${box} role="img" aria-label=${label}></div>`;
}

/** Sums from the bottom up. */
function pile(series) {
  const sums = series[0] ? series[0].values.map(() => 0) : [];
  return series.map(({ values }) => values.map((value, at) => (sums[at] += value ?? 0)));
}

function options(series, stacked, width, height) {
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: '11px "Inter", sans-serif' };
  const drawn = series.map((one) => {
    const stroke = colour(one.colour);
    return { label: one.label, stroke, width: stacked ? 1 : 2, fill: stacked ? fade(stroke, 0.85) : undefined, points: { show: false } };
  });
  return {
    width,
    height,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.06)] } },
    axes: [{ ...axis, grid: { show: false }, space: 90, size: 30, values: (_, all, __, ___, step) => all.map((at) => (step < 60 ? seconds : minutes).format(at * 1_000)) }, { ...axis, size: 52 }],
    series: [{}, ...drawn],
    bands: stacked ? drawn.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })) : undefined,
  };
}
