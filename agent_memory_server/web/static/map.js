// The memory map: up to 20,000 points on a canvas. A grid finds the point under the pointer; its text is fetched when it is looked at.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const frame = document.getElementById("map");
  if (!frame) return;
  const canvas = frame.querySelector("canvas");
  const said = document.getElementById("map-said");
  const state = document.getElementById("map-state");
  const legend = document.getElementById("map-legend");
  const chosen = document.getElementById("map-colour");
  const pen = canvas.getContext("2d");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const palette = dark
    ? ["#7aa2ff", "#ffb86b", "#6fdc8c", "#ff8fa3", "#c792ea", "#5ad1e6", "#f2d34c", "#e39ff6"]
    : ["#2f55d4", "#c45a00", "#177a3c", "#c0263f", "#7a3fb3", "#00748a", "#8a6d00", "#a1309b"];
  const other = dark ? "#8b93a7" : "#8a90a0";
  const TYPES = ["semantic", "episodic", "message"];

  let data;
  try {
    const answer = await fetch(frame.dataset.points, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    data = await answer.json();
  } catch (problem) {
    state.textContent = `The points could not be loaded (${problem.message}). Load the page again.`;
    return;
  }
  const count = data.x.length;
  state.textContent = count ? "" : "No memory with a vector is here yet.";
  state.hidden = count > 0;
  frame.dataset.count = String(count);
  if (!count) return;

  const view = { x: 0, y: 0, zoom: 1 };
  let width = 0, height = 0, looked = -1, drawing = false;
  const CELLS = 64;
  const grid = new Map();
  for (let i = 0; i < count; i++) {
    const key = cell(data.x[i]) * CELLS + cell(data.y[i]);
    if (!grid.has(key)) grid.set(key, []);
    grid.get(key).push(i);
  }
  function cell(value) { return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS))); }

  function colourOf(i) {
    if (chosen.value === "topic") return data.topic[i] < 0 ? other : palette[data.topic[i]];
    if (chosen.value === "type") return palette[TYPES.indexOf(data.type[i])] || other;
    // In steps, so that few colours are painted, each at once.
    const age = Math.round(24 * Math.min(1, Math.log1p(data.age_days[i]) / Math.log1p(365))) / 24;
    return `hsl(${225 + 130 * age} 70% ${dark ? 66 : 46}%)`;
  }
  let groups = new Map();
  function paint() {
    groups = new Map();
    for (let i = 0; i < count; i++) {
      const colour = colourOf(i);
      if (!groups.has(colour)) groups.set(colour, []);
      groups.get(colour).push(i);
    }
    const rows = chosen.value === "topic"
      ? [...data.topics.map((name, i) => [palette[i], name]), [other, "other topics"]]
      : chosen.value === "type" ? TYPES.map((name, i) => [palette[i], name])
      : [[`hsl(225 70% ${dark ? 66 : 46}%)`, "today"], [`hsl(355 70% ${dark ? 66 : 46}%)`, "a year ago or more"]];
    legend.replaceChildren(...rows.map(([colour, name]) => {
      const item = document.createElement("li");
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      dot.setAttribute("viewBox", "0 0 10 10");
      dot.setAttribute("aria-hidden", "true");
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [key, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: colour })) circle.setAttribute(key, value);
      dot.append(circle);
      item.append(dot, ` ${name}`);
      return item;
    }));
    draw();
  }
  const side = () => Math.min(width, height) * 0.46 * view.zoom;
  const toX = (x) => width / 2 + (x - view.x) * side() * (width > height ? Math.min(1.6, width / height) : 1);
  const toY = (y) => height / 2 - (y - view.y) * side();
  const fromX = (px) => (px - width / 2) / (side() * (width > height ? Math.min(1.6, width / height) : 1)) + view.x;
  const fromY = (py) => -(py - height / 2) / side() + view.y;

  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      const ratio = devicePixelRatio || 1;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      const radius = Math.max(1.4, Math.min(5, 60 / Math.sqrt(count)) * Math.sqrt(view.zoom));
      pen.globalAlpha = count > 3000 ? 0.65 : 0.85;
      // Points of three pixels look round either way, and squares take a fifth of the time.
      const square = radius < 1.8;
      for (const [colour, members] of groups) {
        pen.fillStyle = colour;
        pen.beginPath();
        for (const i of members) {
          const x = toX(data.x[i]), y = toY(data.y[i]);
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          if (square) { pen.rect(x - radius, y - radius, 2 * radius, 2 * radius); continue; }
          pen.moveTo(x + radius, y);
          pen.arc(x, y, radius, 0, 7);
        }
        pen.fill();
      }
      pen.globalAlpha = 1;
      if (looked >= 0) {
        pen.lineWidth = 2;
        pen.strokeStyle = getComputedStyle(frame).color;
        pen.beginPath();
        pen.arc(toX(data.x[looked]), toY(data.y[looked]), radius + 4, 0, 7);
        pen.stroke();
      }
      if (groups.size && !frame.dataset.paintedMs) frame.dataset.paintedMs = String(performance.now());
    });
  }
  function fit() {
    width = frame.clientWidth;
    height = Math.max(320, Math.min(640, Math.round(innerHeight * 0.62)));
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    draw();
  }
  function nearest(px, py) {
    const x = fromX(px), y = fromY(py), reach = Math.ceil(CELLS / (2 * side() / 14)) + 1;
    let best = -1, least = 14 * 14;
    for (let cx = cell(x) - reach; cx <= cell(x) + reach; cx++) {
      for (let cy = cell(y) - reach; cy <= cell(y) + reach; cy++) {
        for (const i of grid.get(cx * CELLS + cy) || []) {
          const dx = toX(data.x[i]) - px, dy = toY(data.y[i]) - py, far = dx * dx + dy * dy;
          if (far < least) { least = far; best = i; }
        }
      }
    }
    return best;
  }
  function address(path, i) {
    const [namespace, user] = data.owners[data.owner[i]];
    const query = new URLSearchParams({ id: data.id[i] });
    if (namespace !== null) query.set("namespace", namespace);
    if (user !== null) query.set("user_id", user);
    return `${path}?${query}`;
  }
  const texts = new Map();
  let waiting = 0;
  async function look(i) {
    if (i === looked) return;
    looked = i;
    frame.dataset.looked = i < 0 ? "" : data.id[i];
    draw();
    canvas.style.cursor = i >= 0 ? "pointer" : "grab";
    if (i < 0) { said.textContent = ""; said.hidden = true; return; }
    const mine = ++waiting;
    await new Promise((resolve) => setTimeout(resolve, texts.has(i) ? 0 : 90));
    if (mine !== waiting) return;
    if (!texts.has(i)) {
      const answer = await fetch(address("/map/point", i));
      texts.set(i, answer.ok ? await answer.json() : { text: "It is not there any more.", topics: [], created_at: "" });
    }
    if (mine !== waiting) return;
    const { text, topics, created_at } = texts.get(i);
    const about = document.createElement("span");
    about.className = "faint";
    about.textContent = [created_at, ...topics].filter(Boolean).join(" · ");
    const words = document.createElement("p");
    words.dir = "auto";
    words.textContent = text;
    said.replaceChildren(words, about);
    said.hidden = false;
  }
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { x: event.offsetX, y: event.offsetY, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      const dx = event.offsetX - held.x, dy = event.offsetY - held.y;
      if (held.moved || Math.hypot(dx, dy) > 4) {
        const before = { x: fromX(held.x), y: fromY(held.y) }, after = { x: fromX(event.offsetX), y: fromY(event.offsetY) };
        view.x += before.x - after.x;
        view.y += before.y - after.y;
        held = { x: event.offsetX, y: event.offsetY, moved: true };
        draw();
      }
      return;
    }
    look(nearest(event.offsetX, event.offsetY));
  });
  canvas.addEventListener("pointerup", (event) => {
    const still = held && !held.moved;
    held = null;
    const found = still ? nearest(event.offsetX, event.offsetY) : -1;
    if (found >= 0) location.href = address("/memory", found);
  });
  canvas.addEventListener("pointerleave", () => { if (!held) look(-1); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }, { passive: false });
  function zoom(factor, px, py) {
    const x = fromX(px), y = fromY(py);
    view.zoom = Math.max(1, Math.min(80, view.zoom * factor));
    view.x += x - fromX(px);
    view.y += y - fromY(py);
    draw();
  }
  canvas.addEventListener("keydown", (event) => {
    const step = 0.15 / view.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; look(nearest(width / 2, height / 2)); draw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.25, width / 2, height / 2);
    else if (event.key === "-") zoom(0.8, width / 2, height / 2);
    else if (event.key === "Enter" && looked >= 0) location.href = address("/memory", looked);
    else return;
    event.preventDefault();
  });
  chosen.addEventListener("change", paint);
  new ResizeObserver(fit).observe(frame);
  fit();
  paint();
  frame.dataset.drawn = "true";
});
