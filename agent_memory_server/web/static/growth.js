// The chart of the overview: memories by day, as bars.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("growth");
  const data = document.getElementById("growth-data");
  if (!place || !data || typeof uPlot === "undefined") return;
  const { unit, days, counts } = JSON.parse(data.textContent);
  const seconds = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--edge"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const chart = new uPlot(
    {
      width: place.clientWidth,
      height: 220,
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [axis, { ...axis, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000] }],
      series: [
        { label: unit, value: (_, ts) => (ts == null ? "" : new Date(ts * 1000).toISOString().slice(0, { day: 10, month: 7, year: 4 }[unit])) },
        {
          label: "memories",
          fill: colour("--accent"),
          stroke: colour("--accent"),
          paths: uPlot.paths.bars({ size: [0.7, 40], radius: 0.2 }),
          points: { show: false },
        },
      ],
    },
    [seconds, counts.map((count) => count || null)],
    place,
  );
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 220 })).observe(place);
});
