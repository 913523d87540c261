"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

// Plots are drawn on canvases, which styles do not reach: their colours are set here, and again when the colours of the page change.
function paint() {
  const style = getComputedStyle(document.documentElement);
  const [text, soft, line, back] = ["--text", "--soft", "--line", "--back"].map((name) => style.getPropertyValue(name).trim());
  for (const doc of window.Bokeh ? Bokeh.documents : []) {
    for (const model of doc.all_models) {
      if (model.type.endsWith("Axis")) {
        Object.assign(model, { axis_label_text_color: text, major_label_text_color: soft, axis_line_color: line,
          major_tick_line_color: line, minor_tick_line_color: null, axis_label_text_font_style: "normal" });
      } else if (model.type === "Grid") {
        model.grid_line_color = line;
      } else if (model.type === "Legend") {
        Object.assign(model, { label_text_color: text, background_fill_color: back, background_fill_alpha: 0.8, border_line_color: null });
      } else if (model.type === "Text") {
        model.text_color = text;
      }
    }
  }
}

const ready = (async () => {
  for (const item of data.items) {
    await Bokeh.embed.embed_item(item);
  }
  paint();
})();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
matchMedia("print").addEventListener("change", paint);
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
