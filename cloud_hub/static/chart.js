// Draws one point of a meter over a window of time that ends now. Where nothing was read the line is
// broken and a mark at the foot says so; nothing is drawn across a gap.

const FETCH_TIMEOUT_MS = 15000;
const box = document.getElementById("chart");
const note = document.getElementById("chart-note");
const pointChoice = document.getElementById("point");
const windowChoice = document.getElementById("window");
const zone = box?.dataset.zone;
let plot = null;
let quality = [];
let timer = 0;
let asked = 0;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function chartSize() {
  return { width: box.clientWidth, height: Math.max(240, Math.min(380, Math.round(box.clientWidth * 0.5))) };
}

function markFlagged(chart) {
  const { ctx, bbox, data } = chart;
  const width = Math.max(2, devicePixelRatio * 2);
  ctx.save();
  quality.forEach((name, index) => {
    if (name === null || name === "good") return;
    ctx.fillStyle = colour(data[1][index] === null ? "--bad" : "--warn");
    const x = chart.valToPos(data[0][index], "x", true);
    if (x >= bbox.left && x <= bbox.left + bbox.width) {
      ctx.fillRect(x - width / 2, bbox.top + bbox.height - 6 * devicePixelRatio, width, 6 * devicePixelRatio);
    }
  });
  ctx.restore();
}

function build(series) {
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const unit = series.point.unit ? ` ${series.point.unit}` : "";
  plot?.destroy();
  plot = new uPlot(
    {
      ...chartSize(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      scales: { x: { time: true, range: () => shownRange }, y: { range: paddedRange } },
      axes: [
        { ...axis, values: [
          [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
          [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
        ] },
        { ...axis, size: axisWidth },
      ],
      series: [
        { label: "Time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" },
        { label: pointChoice.selectedOptions[0].text, stroke: colour("--accent"), width: 1.75, spanGaps: false,
          value: (_, value, __, index) => (index === null ? "–" : describe(value, quality[index], unit)) },
      ],
      hooks: { draw: [markFlagged] },
    },
    columns(series),
    box,
  );
}

let shownRange = [0, 1];

function paddedRange(_, lowest, highest) {
  if (lowest === null) return [0, 1];
  const pad = Math.max((highest - lowest) * 0.08, Math.abs(highest) * 0.0005, 0.01);
  return [lowest - pad, highest + pad];
}

function axisWidth(chart, labels) {
  if (!labels) return 50;
  chart.ctx.save();
  chart.ctx.font = "12px system-ui";
  const widest = Math.max(...labels.map((label) => chart.ctx.measureText(label).width));
  chart.ctx.restore();
  return Math.ceil(widest) + 22;
}

function describe(value, name, unit) {
  if (value === null) return name === null ? "no reading" : name;
  return `${value.toLocaleString()}${unit}${name === "good" ? "" : ` (${name})`}`;
}

function columns(series) {
  return [series.observed_at.map((ms) => ms / 1000), series.value];
}

function summarise(series) {
  const flagged = series.quality.filter((name) => name !== null && name !== "good").length;
  const holes = series.quality.filter((name) => name === null).length;
  const parts = [`${series.readings.toLocaleString()} readings`];
  if (series.reduced) parts.push("drawn by their extremes");
  if (holes) parts.push(`${holes} ${holes === 1 ? "stretch" : "stretches"} without any`);
  if (flagged) parts.push(`${flagged} marked as missing or doubtful`);
  note.textContent = `${parts.join(" · ")} · times in ${zone}`;
}

async function load() {
  const ticket = ++asked;
  const seconds = Number(windowChoice.value);
  const end = Date.now();
  const from = new Date(end - seconds * 1000).toISOString();
  const to = new Date(end + 1000).toISOString();
  const query = new URLSearchParams({ from, to, max_points: "1500" });
  const response = await fetch(`/api/v1/points/${pointChoice.value}/series?${query}`, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  const answer = await response.json();
  if (ticket !== asked) return;
  if (!response.ok) {
    note.textContent = answer.detail;
    return;
  }
  quality = answer.quality;
  shownRange = [end / 1000 - seconds, end / 1000];
  if (plot && box.dataset.point === pointChoice.value) plot.setData(columns(answer));
  else build(answer);
  box.dataset.point = pointChoice.value;
  box.dataset.readings = String(answer.readings);
  summarise(answer);
}

async function keepDrawing() {
  clearTimeout(timer);
  try {
    if (!document.hidden) await load();
  } catch {
    note.textContent = "The hub cannot be reached; the chart is not up to date.";
  }
  clearTimeout(timer);
  timer = setTimeout(keepDrawing, Number(windowChoice.selectedOptions[0].dataset.refreshS) * 1000);
}

function redraw() {
  box.dataset.point = "";
  keepDrawing();
}

if (box) {
  pointChoice.addEventListener("change", redraw);
  windowChoice.addEventListener("change", keepDrawing);
  document.addEventListener("visibilitychange", keepDrawing);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => plot?.setSize(chartSize())).observe(box);
  keepDrawing();
}
