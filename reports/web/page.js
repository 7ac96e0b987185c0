"use strict";
(() => {
  const settings = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const EDGE = { left: 52, right: 12, top: 10, bottom: 46 };

  const make = (name, attributes = {}, parent = null, text = null) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== null) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const html = (name, parent, text = null) => {
    const element = document.createElement(name);
    if (text !== null) element.textContent = text;
    parent.append(element);
    return element;
  };

  // Filters: the setting and the method apply to the table and to the curves.
  const byId = (id) => document.getElementById(id);
  const choice = { setting: byId("setting"), seed: byId("seed"), point: byId("point") };
  const search = byId("search");
  const hidden = new Set(); // methods that the legend hides
  const isShown = (method) => !hidden.has(method) && method.toLowerCase().includes(search.value.trim().toLowerCase());
  settings.forEach((setting, index) => (html("option", choice.setting, setting.name).value = index));
  choice.setting.parentElement.hidden = settings.length < 2;
  const chosen = () => settings[choice.setting.value];

  // Table: a button in each heading sorts; empty cells stay last.
  const table = byId("table");
  const rows = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells];
  const sortBy = (column, down) => {
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const isNumber = headings[column].classList.contains("number");
    const key = (row) => row.cells[column].dataset.sort;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return (isNumber ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
    };
    table.tBodies[0].append(...rows.sort(order));
  };
  headings.forEach((heading, column) => {
    const turn = () => sortBy(column, heading.getAttribute("aria-sort") === "ascending");
    heading.querySelector("button").addEventListener("click", turn);
  });
  const ALL = "all";
  for (const point of new Set([ALL, ...rows.map((row) => row.dataset.point)])) html("option", choice.point, point);
  const HALF = "0.5 × MACs";
  choice.point.value = rows.some((row) => row.dataset.point === HALF) ? HALF : ALL;
  const filterRows = () => {
    for (const row of rows) {
      const { setting, method, point } = row.dataset;
      const inSetting = settings.length < 2 || setting.split(" ").includes(choice.setting.value);
      const atPoint = choice.point.value === ALL || point === choice.point.value || point === "no exits";
      row.hidden = !(inSetting && atPoint && isShown(method));
    }
    byId("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  const csvCell = (text) => {
    const plain = /^[=@\t\r]|^[+-][^\d]/.test(text) ? `'${text}` : text; // no formula in a spreadsheet
    return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  const csv = () => {
    const lines = [headings.map((heading) => heading.textContent.trim())];
    for (const row of rows) if (!row.hidden) lines.push([...row.cells].map((cell) => cell.textContent));
    return lines.map((line) => line.map(csvCell).join(",")).join("\n") + "\n";
  };
  byId("csv").addEventListener("click", () => {
    const link = document.createElement("a");
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.setAttribute("href", url);
    link.download = "operating-points.csv";
    link.click();
    URL.revokeObjectURL(url);
  });
  choice.point.addEventListener("change", filterRows);
  sortBy(headings.findIndex((heading) => heading.textContent.trim() === table.dataset.sorted), true);
  filterRows();

  const chart = byId("chart");
  if (!chart) {
    search.addEventListener("input", filterRows);
    return;
  }
  const [details, legend, budget] = ["details", "legend", "budget"].map(byId);
  let drawnCurves = [];

  const polygon = (corners, size) => corners.map(([x, y]) => `${x * size},${y * size}`).join(" ");
  const star = Array.from({ length: 10 }, (_, i) => {
    const [radius, angle] = [i % 2 ? 0.5 : 1.3, (Math.PI * i) / 5 - Math.PI / 2];
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
  const SHAPES = {
    s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    "^": [[0, -1.1], [1.05, 0.9], [-1.05, 0.9]],
    v: [[0, 1.1], [1.05, -0.9], [-1.05, -0.9]],
    "<": [[-1.1, 0], [0.9, 1.05], [0.9, -1.05]],
    ">": [[1.1, 0], [-0.9, 1.05], [-0.9, -1.05]],
    D: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    d: [[0, -1.3], [0.8, 0], [0, 1.3], [-0.8, 0]],
    P: [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4],
      [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
    X: [[-1.1, -0.6], [-0.6, -1.1], [0, -0.5], [0.6, -1.1], [1.1, -0.6], [0.5, 0], [1.1, 0.6], [0.6, 1.1], [0, 0.5],
      [-0.6, 1.1], [-1.1, 0.6], [-0.5, 0]],
    "*": star,
  };
  const dot = (marker, size, parent) =>
    SHAPES[marker]
      ? make("polygon", { class: "dot", points: polygon(SHAPES[marker], size) }, parent)
      : make("circle", { class: "dot", r: size }, parent);

  const withColor = (element, curve) => {
    if (curve.color.toLowerCase() !== "#000000") element.style.setProperty("--colour", curve.color);
    return element;
  };

  // The points of a curve, cheapest first: those of its line, and the operating points.
  const spots = (curve) => {
    const line = curve.line.map(([threshold, share, accuracy, low, high, block]) => ({
      curve, mark: false, name: "", threshold: threshold === null ? "" : String(threshold), share, accuracy, low, high, block,
      leaving: "", time: "",
    }));
    const marks = curve.marks.map((mark) => ({ curve, mark: true, ...mark }));
    return [...line, ...marks].filter((spot) => spot.share !== null && spot.accuracy !== null).sort((a, b) => a.share - b.share);
  };

  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
  };

  const percent = (value) => `${value.toFixed(1)} %`;
  const between = (spot) => (spot.low === null ? "" : ` [${spot.low.toFixed(1)}, ${spot.high.toFixed(1)}]`);
  const description = (spot) =>
    `${spot.curve.name}${spot.name ? ", " + spot.name : ""}: ${percent(spot.accuracy)}${between(spot)} at ` +
    `${spot.share.toFixed(3)} of the MACs${spot.threshold ? ", threshold " + spot.threshold : ""}`;

  // Recall or IoU by class at an operating point, the largest loss first; it stays open when another point is selected.
  let classesOpen = false;
  const showClasses = ({ recall, curve: { classes, without } }) => {
    const box = html("details", details);
    box.open = classesOpen;
    box.addEventListener("toggle", () => (classesOpen = box.open));
    const { byClass } = chosen();
    html("summary", box, `${byClass} by class`);
    const scroll = html("div", box);
    scroll.className = "scroll";
    const table = html("table", scroll);
    table.id = "classes";
    const names = ["Class", `${byClass} (%)`, "Without exits (%)", "Difference (points)"];
    const head = html("tr", html("thead", table));
    names.forEach((name, column) => {
      const cell = html("th", head, name);
      cell.scope = "col";
      if (column) cell.className = "number";
    });
    const body = html("tbody", table);
    const order = classes.map((_, index) => index).sort((a, b) => recall[a] - without[a] - (recall[b] - without[b]));
    for (const index of order) {
      const change = (recall[index] - without[index]).toFixed(1);
      const sign = change > 0 ? "+" : "";
      const cells = [classes[index], recall[index].toFixed(1), without[index].toFixed(1), sign + change.replace("-", "\u2212")];
      const row = html("tr", body);
      cells.forEach((text, column) => {
        const cell = html("td", row, text);
        cell.dataset.name = names[column];
        if (column) cell.className = "number";
      });
    }
  };

  const show = (spot) => {
    details.replaceChildren();
    const list = html("dl", details);
    const add = (term, value, code = false) => {
      if (value === "") return;
      html("dt", list, term);
      const definition = html("dd", list, code ? null : value);
      if (code) html("code", definition, value);
    };
    const name = spot.curve.name + (spot.name ? `, ${spot.name}` : ", a threshold of the curve");
    add("Point", `${name}, seed ${spot.curve.seed}`);
    add(chosen().title, `${percent(spot.accuracy)}${between(spot)} on test, 95 % over test images`);
    add("MACs", `${spot.share.toFixed(3)} of the backbone without exits (${(1 / spot.share).toFixed(2)}×)`);
    add("Time", spot.time);
    add("Threshold", spot.threshold && `${spot.threshold}, policy ${spot.curve.policy}`);
    add("Exits", spot.curve.exits && `after blocks ${spot.curve.exits}; mean exit block ${spot.block.toFixed(2)}`);
    add("Leaving after", spot.leaving);
    add("Run", spot.curve.run, true);
    const { run, policy, predict, first } = spot.curve;
    if (predict && spot.point) add("Classify images", `${predict} --point ${spot.point}`, true);
    else if (predict && first) add("Classify images", `${predict} --threshold ${spot.threshold}`, true);
    if (predict) add("As JSON", JSON.stringify({ run, policy, threshold: spot.threshold }), true);
    add("Reproduce", spot.curve.command, true);
    if (spot.recall?.length) showClasses(spot);
    for (const { element, spot: other } of drawnCurves.flat()) {
      element.classList.toggle("chosen", other === spot);
      element.parentNode.classList.toggle("active", other.curve === spot.curve);
    }
  };

  // The accuracy of a curve at a share of the MACs, linear between two settings; null where the curve does not reach it.
  const accuracyAt = (curve, share) => {
    const line = curve.line.filter(([, x, y]) => x !== null && y !== null);
    const next = line.findIndex(([, x]) => x >= share);
    if (next < 0 || (next === 0 && line[0][1] > share)) return null;
    if (next === 0) return line[0][2];
    const [[, x0, y0], [, x1, y1]] = [line[next - 1], line[next]];
    return y0 + ((share - x0) / (x1 - x0 || 1)) * (y1 - y0);
  };

  const rank = (curves) => {
    const share = Number(budget.value);
    byId("at").textContent = `Test ${chosen().metric} at ${share.toFixed(2)} of the MACs of the backbone without exits:`;
    const byName = new Map();
    for (const curve of curves) {
      if (curve.line.length > 1) byName.set(curve.name, [...(byName.get(curve.name) ?? []), accuracyAt(curve, share)]);
    }
    const mean = (values) => (values.includes(null) ? null : values.reduce((sum, value) => sum + value, 0) / values.length);
    const ranked = [...byName].map(([name, values]) => [name, mean(values)]).sort((a, b) => (b[1] ?? -1) - (a[1] ?? -1));
    byId("ranking").replaceChildren();
    for (const [name, value] of ranked) {
      html("li", byId("ranking"), `${name}: ${value === null ? "not reached" : percent(value)}`);
    }
  };

  const draw = () => {
    const curves = chosen().curves.filter(
      (curve) => choice.seed.value === "" || String(curve.seed) === choice.seed.value
    );
    chart.replaceChildren();
    details.replaceChildren();
    html("p", details, "No point is selected.").className = "hint";
    drawnCurves = [];
    const width = Math.max(320, Math.min(1000, chart.clientWidth || 800));
    const height = Math.round(Math.max(300, width * 0.52));
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const visible = curves.filter((curve) => isShown(curve.name));
    rank(visible);
    chart.classList.toggle("many", visible.length > 4); // many bands overlap: only the selected curve shows its band
    const all = visible.flatMap(spots);
    if (!all.length) return;
    const range = (values, pad) => {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const room = (high - low || 1) * pad;
      return [low - room, high + room];
    };
    const [x0, x1] = range(all.map((spot) => spot.share), 0.03);
    const [y0, y1] = range(all.flatMap((spot) => [spot.low ?? spot.accuracy, spot.high ?? spot.accuracy]), 0.04);
    const x = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (width - EDGE.left - EDGE.right);
    const y = (value) => height - EDGE.bottom - ((value - y0) / (y1 - y0)) * (height - EDGE.top - EDGE.bottom);
    const axes = make("g", { "aria-hidden": "true" }, chart);
    for (const tick of ticks(x0, x1, width / 110)) {
      make("line", { class: "rule", x1: x(tick), x2: x(tick), y1: EDGE.top, y2: height - EDGE.bottom }, axes);
      make("text", { x: x(tick), y: height - EDGE.bottom + 17, "text-anchor": "middle" }, axes, tick);
    }
    for (const tick of ticks(y0, y1, height / 60)) {
      make("line", { class: "rule", x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick) }, axes);
      make("text", { x: EDGE.left - 6, y: y(tick) + 4, "text-anchor": "end" }, axes, tick);
    }
    if (x0 < budget.value && budget.value < x1) {
      const at = { x1: x(budget.value), x2: x(budget.value), y1: EDGE.top, y2: height - EDGE.bottom };
      make("line", { class: "budget", ...at }, axes);
    }
    const middle = (EDGE.top + height - EDGE.bottom) / 2;
    const below = { x: (EDGE.left + width - EDGE.right) / 2, y: height - 8, "text-anchor": "middle" };
    make("text", below, axes, "mean MACs, backbone without exits = 1");
    make("text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, axes, `test ${chosen().metric} (%)`);

    for (const curve of visible) {
      const group = withColor(make("g", { class: "curve", "data-name": curve.name }, chart), curve);
      const line = curve.line.filter(([, share, accuracy]) => share !== null && accuracy !== null);
      if (line.length > 1) {
        const upper = line.map(([, share, , , high]) => `${x(share)},${y(high)}`);
        const lower = line.map(([, share, , low]) => `${x(share)},${y(low)}`).reverse();
        make("polygon", { class: "band", points: [...upper, ...lower].join(" ") }, group);
        const points = line.map(([, share, accuracy]) => `${x(share)},${y(accuracy)}`).join(" ");
        make("polyline", { class: "line", points, ...(curve.dash && { "stroke-dasharray": curve.dash }) }, group);
      }
      drawnCurves.push(
        spots(curve).map((spot) => {
          const place = { class: "spot", role: "button", tabindex: -1, "aria-label": description(spot) };
          const element = make("g", { ...place, transform: `translate(${x(spot.share)} ${y(spot.accuracy)})` }, group);
          if (spot.mark && spot.low !== null) {
            const [top, bottom] = [y(spot.high) - y(spot.accuracy), y(spot.low) - y(spot.accuracy)];
            make("line", { class: "bar", x1: 0, x2: 0, y1: top, y2: bottom }, element);
          }
          make("circle", { class: "hit", r: spot.mark ? 10 : 6 }, element);
          if (spot.mark) dot(curve.marker, 5, element);
          else make("circle", { class: "dot small", r: 2.2 }, element);
          element.addEventListener("focus", () => show(spot));
          element.addEventListener("mouseenter", () => show(spot));
          element.addEventListener("click", () => element.focus());
          return { element, spot };
        })
      );
    }
    drawnCurves[0][0].element.setAttribute("tabindex", 0);
  };

  const nearest = (curvePoints, share) =>
    curvePoints.reduce((best, here) => (Math.abs(here.spot.share - share) < Math.abs(best.spot.share - share) ? here : best));

  chart.addEventListener("keydown", (event) => {
    const row = drawnCurves.findIndex((curvePoints) => curvePoints.some(({ element }) => element === document.activeElement));
    if (row < 0) return;
    const at = drawnCurves[row].findIndex(({ element }) => element === document.activeElement);
    const share = drawnCurves[row][at].spot.share;
    const last = drawnCurves[row].length - 1;
    const moves = {
      ArrowRight: () => drawnCurves[row][Math.min(at + 1, last)],
      ArrowLeft: () => drawnCurves[row][Math.max(at - 1, 0)],
      ArrowDown: () => nearest(drawnCurves[(row + 1) % drawnCurves.length], share),
      ArrowUp: () => nearest(drawnCurves[(row + drawnCurves.length - 1) % drawnCurves.length], share),
      Home: () => drawnCurves[row][0],
      End: () => drawnCurves[row][last],
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    for (const { element } of drawnCurves.flat()) element.setAttribute("tabindex", -1);
    const { element } = moves[event.key]();
    element.setAttribute("tabindex", 0);
    element.focus();
  });

  const fillLegend = () => {
    legend.replaceChildren();
    const first = new Map(chosen().curves.map((curve) => [curve.name, curve]).reverse());
    for (const curve of [...first.values()].reverse()) {
      const button = html("button", legend);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hidden.has(curve.name)));
      const key = withColor(make("svg", { class: "key", viewBox: "0 0 34 14", "aria-hidden": "true" }, button), curve);
      const dash = curve.dash && { "stroke-dasharray": curve.dash };
      if (curve.line.length > 1) make("line", { class: "line", x1: 0, x2: 34, y1: 7, y2: 7, ...dash }, key);
      dot(curve.marker, 4.5, make("g", { transform: "translate(17 7)" }, key));
      html("span", button, curve.name);
      button.addEventListener("click", () => {
        if (!hidden.delete(curve.name)) hidden.add(curve.name);
        button.setAttribute("aria-pressed", String(!hidden.has(curve.name)));
        draw();
        filterRows();
      });
    }
  };

  const fillSeeds = () => {
    const seeds = [...new Set(chosen().curves.map((curve) => curve.seed))].sort((a, b) => a - b);
    choice.seed.replaceChildren();
    for (const seed of seeds) html("option", choice.seed, String(seed)).value = seed;
    if (seeds.length > 1 && seeds.length <= 10) html("option", choice.seed, "all").value = "";
    choice.seed.parentElement.hidden = seeds.length < 2;
  };

  const begin = () => {
    hidden.clear();
    fillSeeds();
    fillLegend();
    draw();
    filterRows();
  };
  search.addEventListener("input", () => {
    draw();
    filterRows();
  });
  budget.addEventListener("input", draw);
  choice.setting.addEventListener("change", begin);
  choice.seed.addEventListener("change", draw);
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== wide) draw();
    wide = innerWidth;
  });
  begin();
})();
