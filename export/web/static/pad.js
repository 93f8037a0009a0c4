// A drawing area for pointers and keys, and the image that the student gets of it.

const STEP = 0.04; // Of the area's side, per press of an arrow key.
const DETAIL = 8; // Pixels per side that are averaged to one of the student's.
const ARROWS = {
  ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
};

export class Pad {
  // `drawing`: margin and pen of the page's metadata; `changed` is called after strokes.
  constructor(canvas, { input, drawing }, changed) {
    Object.assign(this, { canvas, input, drawing, changed });
    this.strokes = []; // Of points [x, y] in 0..1.
    this.stroke = null;
    this.cursor = [0.5, 0.2];
    canvas.width = 512;
    canvas.height = Math.round((512 * input.height) / input.width);
    canvas.addEventListener("pointerdown", (event) => this.start(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => { this.stroke = null; });
    }
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    this.draw();
  }

  clear() {
    this.strokes = [];
    this.stroke = null;
    this.draw();
  }

  start(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.position(event));
  }

  move(event) {
    if (!this.stroke || !event.buttons) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      this.stroke.push(this.position(one));
    }
    this.update();
  }

  press(event) {
    if (event.key in ARROWS) {
      this.cursor = this.cursor.map((at, i) => clip(at + ARROWS[event.key][i]));
      if (this.stroke) this.stroke.push(this.cursor);
    } else if (event.key === " ") {
      if (this.stroke) this.stroke = null;
      else this.begin(this.cursor);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.update();
  }

  begin(point) {
    this.stroke = [point];
    this.strokes.push(this.stroke);
    this.update();
  }

  update() {
    this.draw();
    this.changed();
  }

  position(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [clip((event.clientX - left) / width), clip((event.clientY - top) / height)];
  }

  draw() {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    paint(context, this.strokes, (x, y) => [x * width, y * height], 0.07 * width);
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      drawCursor(context, this.cursor[0] * width, this.cursor[1] * height, this.stroke);
    }
  }

  // The drawing at the student's size: moved and scaled to where training images have
  // their ink, whatever its size on the screen, with a pen as thick as theirs.
  image() {
    const { width, height } = this.input;
    const { margin, pen } = this.drawing;
    const [columns, rows] = [width * DETAIL, height * DETAIL];
    const thick = pen * Math.min(columns, rows);
    const ratio = this.canvas.height / this.canvas.width;
    const points = this.strokes.flat().map(([x, y]) => [x, y * ratio]);
    const [left, right] = extent(points.map(([x]) => x));
    const [top, bottom] = extent(points.map(([, y]) => y));
    const room = (side) => side * (1 - 2 * margin) - thick;
    const scale = Math.min(
      room(columns) / Math.max(right - left, 1e-6),
      room(rows) / Math.max(bottom - top, 1e-6),
      // A quarter of the area is enough to fill the image; a dot stays a dot.
      4 * Math.max(columns, rows),
    );
    const place = (x, y) => [
      columns / 2 + (x - (left + right) / 2) * scale,
      rows / 2 + (y * ratio - (top + bottom) / 2) * scale,
    ];
    const canvas = Object.assign(document.createElement("canvas"), {
      width: columns, height: rows,
    });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    paint(context, this.strokes, place, thick);
    return average(context.getImageData(0, 0, columns, rows), width, height);
  }
}

function paint(context, strokes, place, thick) {
  context.strokeStyle = "#fff";
  context.lineWidth = thick;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...place(...stroke[0]));
    // A stroke of one point is a dot.
    for (const point of stroke) context.lineTo(...place(...point));
    context.stroke();
  }
}

function drawCursor(context, x, y, down) {
  context.strokeStyle = "#7fb0ff";
  context.lineWidth = 4;
  context.beginPath();
  context.arc(x, y, down ? 10 : 18, 0, 2 * Math.PI);
  context.stroke();
}

// Averages blocks of DETAIL x DETAIL: white ink of some opacity becomes a gray.
function average(large, width, height) {
  const small = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let i = 0; i < DETAIL * DETAIL; i += 1) {
        const row = y * DETAIL + Math.floor(i / DETAIL);
        sum += large.data[4 * (row * large.width + x * DETAIL + (i % DETAIL)) + 3];
      }
      const value = Math.round(sum / (DETAIL * DETAIL));
      small.data.set([value, value, value, 255], 4 * (y * width + x));
    }
  }
  return small;
}

function extent(values) {
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

function clip(value) {
  return Math.min(1, Math.max(0, value));
}
