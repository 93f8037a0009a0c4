// Puts the page together: what is given to the student, and what it says.

import { Pad } from "./pad.js";
import { detections, mask, probabilities } from "./results.js";
import { loadStudent } from "./student.js";
import { color, fit, show, showBoxes, showMask } from "./view.js";

const MOST_BARS = 12; // Of more classes, the most probable ones are shown.
const LONG_NAME = 8; // Letters of a class's name that fit beside its bar.
const LARGE = 64; // Pixels per side from which the picture has its own row.
const find = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

class App {
  constructor(page, student) {
    Object.assign(this, { page, student, image: null, outputs: null, waiting: false });
    this.name = (index) => page.labels?.[index] ?? `class ${index}`;
    this.showResult = {
      classification: () => this.showClasses(),
      segmentation: () => this.showSegments(),
      detection: () => this.showObjects(),
    }[page.task];
    const large = page.task !== "classification" || page.input.height >= LARGE;
    find("result").className = large ? "large" : "small";
    this.addInputs();
    if (page.task === "detection") this.addThreshold();
  }

  addInputs() {
    if (this.page.drawing) {
      find("input-heading").textContent = "Draw";
      find("main").classList.add("draws");
      find("drawing").hidden = find("clear").hidden = false;
      this.pad = new Pad(find("pad"), this.page, () => this.give(this.pad.image()));
      find("clear").addEventListener("click", () => this.clear());
    }
    find("file").addEventListener("change", ({ target }) => {
      this.open(target.files[0]);
      target.value = ""; // So that the same file can be chosen again.
    });
    const main = find("main");
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      main.classList.add("dropping");
    });
    document.addEventListener("dragleave", () => main.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      main.classList.remove("dropping");
      this.open(event.dataTransfer.files[0]);
    });
    this.page.samples.forEach((sample, index) => this.addSample(sample, index));
    find("samples").hidden = this.page.samples.length === 0;
  }

  addSample({ file, label }, index) {
    const picture = element("img", "");
    picture.src = file;
    picture.alt = label === null ? `Sample ${index + 1}` : "";
    const button = element("button", "");
    Object.assign(button, { type: "button", ariaPressed: "false" });
    button.append(picture);
    if (label !== null) {
      button.setAttribute("aria-label", `Sample ${index + 1}, labeled ${label}`);
      button.append(element("span", "", label));
    }
    button.addEventListener("click", async () => {
      await picture.decode();
      this.pad?.clear();
      this.give(fit(picture, this.page), button);
    });
    const item = element("li", "");
    item.append(button);
    find("samples").querySelector("ul").append(item);
  }

  addThreshold() {
    const slider = find("threshold");
    if (this.page.nms) slider.min = this.page.nms.score_threshold;
    const update = () => {
      find("threshold-value").textContent = Number(slider.value).toFixed(2);
      if (this.outputs && !this.isNothing(this.shown)) this.showResult();
    };
    slider.addEventListener("input", update);
    find("threshold-row").hidden = false;
    update();
  }

  async open(file) {
    if (!file) return;
    try {
      const picture = await createImageBitmap(file);
      this.pad?.clear();
      this.give(fit(picture, this.page));
    } catch {
      report(`${file.name} is not a picture that this browser can read.`, true);
    }
  }

  clear() {
    this.pad.clear();
    this.give(this.pad.image());
    find("pad").focus();
  }

  // The last image given wins; while the student is at work, newer ones wait.
  give(image, button = null) {
    report("");
    for (const other of find("samples").querySelectorAll("button")) {
      other.ariaPressed = String(other === button);
    }
    this.image = image;
    if (!this.waiting) this.schedule();
  }

  schedule() {
    this.waiting = true;
    find("output").ariaBusy = "true";
    requestAnimationFrame(() => this.run());
  }

  async run() {
    const image = this.image;
    try {
      const { outputs, milliseconds } = await this.student.run(image);
      Object.assign(this, { outputs, shown: image });
      if (this.isNothing(image)) {
        this.showNothing();
      } else {
        this.showResult();
        find("time").textContent = `${milliseconds.toPrecision(2)} ms per run`;
      }
      document.body.dataset.runs = Number(document.body.dataset.runs ?? 0) + 1;
    } catch (error) {
      report(`The student failed: ${error.message}`, true);
    }
    this.waiting = false;
    find("output").ariaBusy = "false";
    if (this.image !== image) this.schedule();
  }

  showPicture() {
    show(find("view"), this.shown, this.page.input.channels === 1);
  }

  showClasses() {
    this.showPicture();
    const values = probabilities(this.outputs[this.page.outputs[0]].data, this.page.prediction);
    const order = values.map((_, index) => index).sort((a, b) => values[b] - values[a]);
    const shown = values.length <= MOST_BARS ? [...values.keys()] : order;
    summarize(this.name(order[0]));
    const rows = shown.slice(0, MOST_BARS).map((index) => {
      const track = element("div", "track");
      const bar = element("div", "bar");
      bar.style.width = `${100 * values[index]}%`;
      track.append(bar);
      track.setAttribute("aria-hidden", "true");
      const row = entry(this.name(index), percent(values[index]), track, 1);
      row.dataset.index = index;
      row.dataset.probability = values[index];
      row.classList.toggle("first", index === order[0]);
      return row;
    });
    const longest = Math.max(...shown.map((index) => this.name(index).length));
    find("classes").style.setProperty("--names", `${(longest + 1) * 0.6}rem`);
    list(rows, longest > LONG_NAME ? "bars long" : "bars");
  }

  // The first run, which prepares the student, and an empty drawing.
  isNothing(image) {
    const hasInk = () => image.data.some((value, at) => at % 4 !== 3 && value > 0);
    return image === this.nothing || (this.pad && !hasInk());
  }

  showNothing() {
    this.showPicture();
    summarize(this.pad ? "Draw something" : "Choose a picture");
    find("time").textContent = "";
    list([], "");
  }

  showSegments() {
    this.showPicture();
    const found = mask(this.outputs[this.page.outputs[0]], this.page.prediction);
    const background = /^(background|other)$/i.test(this.page.labels?.[0] ?? "") ? 0 : null;
    showMask(find("view"), found, background);
    const counts = new Map();
    for (const index of found.classes) counts.set(index, (counts.get(index) ?? 0) + 1);
    const order = [...counts].sort((a, b) => b[1] - a[1]);
    const named = order.filter(([index]) => index !== background);
    summarize(named.map(([index]) => this.name(index)).join(", ") || "Only background");
    list(order.map(([index, count]) => this.legend(
      index, percent(count / found.classes.length), index === background,
    )), "legend");
  }

  showObjects() {
    this.showPicture();
    const threshold = Number(find("threshold").value);
    const found = detections(this.outputs, this.page.nms, threshold);
    showBoxes(find("view"), found, this.name);
    const names = found.map(({ index }) => this.name(index));
    summarize(names.join(", ") || "Nothing found");
    list(found.map(({ index, score, box }) => {
      const row = this.legend(index, percent(score), false);
      row.dataset.box = box.join(" ");
      row.dataset.score = score;
      return row;
    }), "legend");
  }

  legend(index, value, isClear) {
    const swatch = element("div", "swatch");
    if (!isClear) swatch.style.background = color(index);
    const row = entry(this.name(index), value, swatch, 0);
    row.dataset.index = index;
    return row;
  }
}

function entry(name, value, extra, place) {
  const row = element("li", "");
  const parts = [element("span", "name", name), element("span", "value", value)];
  parts.splice(place, 0, extra);
  parts.find((part) => part.className === "name").title = name;
  row.append(...parts);
  return row;
}

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function list(rows, className) {
  find("classes").className = className;
  find("classes").replaceChildren(...rows);
}

// Set only when it changes, so that screen readers do not repeat it.
function summarize(text) {
  if (find("summary").textContent !== text) find("summary").textContent = text;
}

function report(text, isError = false) {
  find("status").textContent = text;
  find("status").classList.toggle("error", isError);
}

async function main() {
  try {
    const answer = await fetch("page.json");
    if (!answer.ok) throw new Error(`page.json: ${answer.status}`);
    const page = await answer.json();
    document.title = find("title").textContent = page.title;
    const { width, height } = page.input;
    find("about").textContent = `A student of ${page.parameters.toLocaleString("en")} `
      + `parameters for ${page.task} of images of ${width} × ${height} pixels.`;
    const app = new App(page, await loadStudent(page));
    find("main").hidden = false;
    app.nothing = fit(document.createElement("canvas"), page);
    app.give(app.nothing);
    if (!app.pad) document.querySelector("#samples button")?.click();
  } catch (error) {
    report(`The student could not be loaded: ${error.message}`, true);
  }
}

main();
