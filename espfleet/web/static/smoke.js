// The smoke graph: the median as a line whose colour tells the loss, over bands of how far answers spread.

// Loss up to (share), name, colour; the words stand in the legend, and lost samples also have a mark of their own.
export const LOSSES = [[0, "no loss", "#22b573"], [0.05, "to 5 %", "#3b9dff"], [0.2, "to 20 %", "#a06bff"], [0.5, "to 50 %", "#ff9f1c"], [1, "more", "#ff4d5e"]];
export const lossOf = (count, lost) => LOSSES.find(([most]) => (count ? lost / count : 0) <= most) ?? LOSSES.at(-1);

let loading = null;
function library() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "vendor/chart.js";
    script.onload = () => done(window.Chart);
    script.onerror = () => failed(new Error("the graph cannot be loaded"));
    document.head.append(script);
  });
  return loading;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Steps without samples become gaps.
function columns(told) {
  const rows = [];
  told.at_ms.forEach((at, place) => {
    const before = rows.at(-1);
    if (before && at - before.x > told.step_ms * 2.5) rows.push({ x: before.x + told.step_ms, gap: true });
    rows.push({ x: at, place });
  });
  return (name) => rows.map((row) => ({ x: row.x, y: row.gap ? null : told[name][row.place] }));
}

export async function draw(canvas, told) {
  const Chart = await library();
  if (!canvas.isConnected) return null;
  // Another call may have come first while the library was loading.
  const before = Chart.getChart(canvas);
  const column = columns(told);
  const medians = column("median_ms");
  const places = new Map(told.at_ms.map((at, place) => [at, place]));
  const colour = (x) => { const place = places.get(x); return place === undefined ? "#888" : lossOf(told.count[place], told.lost[place])[2]; };
  const top = Math.max(1, ...told.most_ms.filter((value) => value != null));
  const lost = told.at_ms.flatMap((at, place) => (told.lost[place] ? [{ x: at, y: 0, share: told.lost[place] / told.count[place] }] : []));
  const band = (name, fill, alpha, label) => ({ label, data: column(name), borderWidth: 0, pointRadius: 0, fill, backgroundColor: `${css("--quiet")}${alpha}`, spanGaps: false, tension: 0.2 });
  const data = {
    datasets: [
      { label: "Median", data: medians, borderWidth: 2.4, pointRadius: medians.length < 90 ? 2.2 : 0, spanGaps: false, tension: 0.2, fill: false, order: 0,
        pointBackgroundColor: medians.map((one) => colour(one.x)), pointBorderWidth: 0, borderColor: LOSSES[0][2], segment: { borderColor: (part) => colour(part.p1.parsed.x) } },
      { label: "Lost", data: lost, type: "line", showLine: false, pointStyle: "triangle", pointRadius: 6, pointBackgroundColor: lost.map((one) => lossOf(1, one.share)[2]), pointBorderWidth: 0, order: -1, clip: false },
      band("high_ms", "+1", "66", "Upper quarter"), band("low_ms", false, "00", "Lower quarter"),
      band("most_ms", "+1", "30", "Most"), band("least_ms", false, "00", "Least"),
    ],
  };
  const scales = {
    x: { type: "time", min: told.from_ms, max: told.to_ms, time: { displayFormats: { second: "HH:mm:ss", minute: "HH:mm", hour: "HH:mm" } }, ticks: { color: css("--quiet"), maxRotation: 0, autoSkipPadding: 24 }, grid: { color: `${css("--line")}66` } },
    y: { min: 0, suggestedMax: top * 1.05, ticks: { color: css("--quiet"), callback: (value) => `${value} ms` }, grid: { color: `${css("--line")}66` } },
  };
  if (before) {
    before.data = data;
    before.options.scales = scales;
    before.update("none");
    return before;
  }
  return new Chart(canvas, {
    type: "line", data,
    options: {
      animation: false, maintainAspectRatio: false, parsing: true, scales, interaction: { mode: "index", intersect: false },
      plugins: { legend: { display: false }, tooltip: { filter: (item) => item.dataset.label !== "Lost", callbacks: {
        label: (item) => `${item.dataset.label}: ${item.parsed.y == null ? "–" : `${item.parsed.y.toFixed(2)} ms`}`,
        afterBody: (items) => { const place = places.get(items[0]?.parsed.x); return place === undefined ? "" : `Lost: ${told.lost[place]} of ${told.count[place]}`; },
      } } },
    },
  });
}
