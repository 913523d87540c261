// The explorer: shows the stored numbers of the chosen row, input and target. It computes no statistics.
const MAX_DECIMALS = 8;

function explore(stored) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const floats = (text) => new Float32Array(bytes(text));
  const targets = stored.targets.map((target) => ({
    ...target,
    quantiles: floats(target.quantiles),
    modes: floats(target.modes),
    heights: floats(target.heights),
    ends: floats(target.ends),
    curve: new Uint16Array(bytes(target.curve)),
    atoms: floats(target.atoms),
  }));
  const find = (name) => document.getElementById(name);
  const rowChoice = find("row"), targetChoice = find("target"), inputs = [...document.querySelectorAll("#inputs input")];
  const groups = [["With sliders", (row) => row.sliders.length > 0], ["Without sliders", (row) => row.sliders.length === 0]];
  for (const [label, belongs] of groups) {
    const group = Object.assign(document.createElement("optgroup"), { label });
    stored.rows.forEach((row, i) => belongs(row) && group.append(new Option(row.label, i)));
    if (group.children.length) rowChoice.append(group);
  }
  let moved = null;  // the number of the input that does not have the value of the row

  const numbersOf = (target, state) => {
    const slice = (values, count) => Array.from(values.subarray(state * count, (state + 1) * count));
    const perState = (values) => values.length * 3 / target.ends.length;
    const [low, high, top] = slice(target.ends, 3), half = perState(target.curve) / 2, curve = slice(target.curve, 2 * half);
    const share = (step) => step / 65535;
    return {
      quantiles: slice(target.quantiles, perState(target.quantiles)).map((value) => target.offset + value),
      modes: slice(target.modes, perState(target.modes)).map((value) => target.offset + value),
      heights: slice(target.heights, perState(target.heights)),
      y: curve.slice(0, half).map((step) => target.offset + low + share(step) * (high - low)),
      density: curve.slice(half).map((step) => share(step) * top),
      atoms: slice(target.atoms, perState(target.atoms)),
      top,
    };
  };

  const fill = (name, rows) => {
    const body = find(name).tBodies[0];
    body.replaceChildren(...rows.map(([first, ...others]) => {
      const row = document.createElement("tr");
      row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: first }));
      row.append(...others.map((text) => Object.assign(document.createElement("td"), { className: "number", textContent: text })));
      return row;
    }));
  };

  // Points of the curve between two values, with both values themselves.
  const between = (numbers, from, to) => {
    const at = (value) => {
      const i = numbers.y.findIndex((y) => y >= value);
      if (i <= 0) return i === 0 ? numbers.density[0] : numbers.density.at(-1);
      const share = (value - numbers.y[i - 1]) / (numbers.y[i] - numbers.y[i - 1] || 1);
      return numbers.density[i - 1] + share * (numbers.density[i] - numbers.density[i - 1]);
    };
    const inside = numbers.y.map((y, i) => [y, numbers.density[i]]).filter(([y]) => from < y && y < to);
    const points = [[from, at(from)], ...inside, [to, at(to)]];
    return { y: points.map(([y]) => y), density: points.map(([, density]) => density) };
  };

  const draw = (numbers, truth, target) => {
    const plot = Bokeh.documents.map((doc) => doc.get_model_by_name("median")).findIndex((model) => model !== null);
    const doc = Bokeh.documents[plot], model = (name) => doc.get_model_by_name(name);
    const ends = (level) => [(1 - level) / 2, (1 + level) / 2].map((p) => quantile(numbers, p));
    const known = numbers.modes.map((y, i) => [y, numbers.heights[i]]).filter(([y]) => !Number.isNaN(y));
    model("curve").data = { y: numbers.y, density: numbers.density };
    model("outer").data = between(numbers, ...ends(0.9));
    model("inner").data = between(numbers, ...ends(0.5));
    model("modes").data = { y: known.map(([y]) => y), density: known.map(([, height]) => height) };
    model("atoms").data = { y: target.atom_values, density: numbers.atoms.map((share) => share * numbers.top) };
    model("median").location = quantile(numbers, 0.5);
    model("truth").location = truth;
    const figure = doc.roots()[0], low = Math.min(numbers.y[0], truth), high = Math.max(numbers.y.at(-1), truth);
    const margin = 0.03 * (high - low) || 1;
    model("atom-bars").glyph.width = (high - low) / 80;
    Object.assign(figure.x_range, { start: low - margin, end: high + margin });
    Object.assign(figure.y_range, { start: 0, end: 1.08 * numbers.top });
    figure.below[0].axis_label.text = target.name;
  };
  const quantile = (numbers, p) => numbers.quantiles[stored.levels.findIndex((level) => Math.abs(level - p) < 1e-9)];

  const show = () => {
    const row = stored.rows[rowChoice.value], d = targetChoice ? Number(targetChoice.value) : 0, target = targets[d];
    inputs.forEach((input, i) => {
      const slider = row.sliders[i];
      input.disabled = !slider;
      input.max = slider ? slider.states.length - 1 : 0;
      if (i !== moved) input.value = slider ? slider.own : 0;
      const text = slider ? slider.texts[input.value] : row.texts[i];
      input.setAttribute("aria-valuetext", text);
      input.classList.toggle("moved", i === moved);
      find(`value-${i}`).textContent = text;
    });
    find("no-sliders").hidden = row.sliders.length > 0;
    const state = moved === null ? row.state : row.sliders[moved].states[inputs[moved].value];
    const numbers = numbersOf(target, state), text = (value) => (target.decimals > MAX_DECIMALS ? value.toPrecision(4) : value.toFixed(target.decimals));
    draw(numbers, row.y[d], target);
    fill("quantiles", stored.levels.map((level, i) => [`${Number((100 * level).toFixed(1))} %`, text(numbers.quantiles[i])]));
    fill("intervals", stored.intervals.map((level) => {
      const ends = [(1 - level) / 2, (1 + level) / 2].map((p) => text(quantile(numbers, p)));
      return [`${Number((100 * level).toFixed(1))} %`, ...ends];
    }));
    const modes = numbers.modes.map((y, i) => [y, numbers.heights[i]]).filter(([y]) => !Number.isNaN(y));
    fill("modes", modes.map(([y, height], i) => [String(i + 1), text(y), height.toPrecision(4)]));
    find("atoms").hidden = numbers.atoms.length === 0;
    fill("atoms", numbers.atoms.map((share, i) => [String(target.atom_values[i]), share.toFixed(4)]));
    const where = moved === null ? "" : ` with another ${inputs[moved].labels[0].textContent}, ${find(`value-${moved}`).textContent}`;
    const ends = [0.05, 0.95].map((p) => text(quantile(numbers, p)));
    find("said").textContent = `${row.label}${where}: median ${text(quantile(numbers, 0.5))}, 90 % interval ${ends[0]} to ${ends[1]}, `
      + `${modes.length === 1 ? "one mode" : `${modes.length} modes`}${modes.length ? ` at ${modes.map(([y]) => text(y)).join(", ")}` : ""}. `
      + `The observed target of the row is ${text(row.y[d])}.`;
  };

  rowChoice.addEventListener("change", () => { moved = null; show(); });
  if (targetChoice) targetChoice.addEventListener("change", show);
  inputs.forEach((input, i) => input.addEventListener("input", () => {
    moved = Number(input.value) === stored.rows[rowChoice.value].sliders[i].own ? null : i;
    show();
  }));
  find("reset").addEventListener("click", () => { moved = null; show(); });
  find("explorer").addEventListener("submit", (event) => event.preventDefault());
  window.explorerNumbers = () => {  // what is shown, for tests and for the console
    const d = targetChoice ? Number(targetChoice.value) : 0, row = stored.rows[rowChoice.value];
    return numbersOf(targets[d], moved === null ? row.state : row.sliders[moved].states[inputs[moved].value]);
  };
  show();
}
if (data.explorer) ready.then(() => { explore(data.explorer); paint(); });
