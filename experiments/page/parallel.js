// Parallel coordinates: draws the chosen setting once more, and writes its values.
function chooseSettings(stored) {
  const choice = document.getElementById("setting"), cells = [...document.querySelectorAll("#chosen-setting tbody td")];
  const source = Bokeh.documents.map((doc) => doc.get_model_by_name("chosen")).find((model) => model !== null);
  const show = () => {
    const row = stored.rows[choice.value];
    source.data = { xs: [row.heights.map((_, i) => i)], ys: [row.heights.map((height) => height ?? NaN)] };
    row.texts.forEach((text, i) => { cells[i].textContent = text; });
  };
  choice.addEventListener("change", show);
  show();
}
if (data.parallel) ready.then(() => chooseSettings(data.parallel));
