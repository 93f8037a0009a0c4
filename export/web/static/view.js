// The picture as the student sees it, with what it says drawn over it.

const LONGEST = 512; // Pixels of the canvas on the screen.
const OPACITY = 0.55;

// A color for each class, as far apart as they come.
export function color(index) {
  return `hsl(${(index * 137.5 + 350) % 360} 85% ${index % 2 ? 60 : 50}%)`;
}

// Scales a picture to the student's size. Classifiers get its middle; for the others all
// of it is fitted in at the top left, on black. As the images of training.
export function fit(picture, { task, input }) {
  const { width, height } = input;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  const sides = [
    picture.naturalWidth ?? picture.width, picture.naturalHeight ?? picture.height,
  ];
  const scales = [width / sides[0], height / sides[1]];
  const covers = task === "classification";
  const scale = covers ? Math.max(...scales) : Math.min(...scales);
  const [w, h] = sides.map((side) => side * scale);
  const [x, y] = covers ? [(width - w) / 2, (height - h) / 2] : [0, 0];
  context.drawImage(picture, x, y, w, h);
  return context.getImageData(0, 0, width, height);
}

// Draws the pixels large, gray where the student sees gray.
export function show(canvas, image, isGray) {
  const factor = Math.max(1, Math.floor(LONGEST / Math.max(image.width, image.height)));
  canvas.width = image.width * factor;
  canvas.height = image.height * factor;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.filter = isGray ? "grayscale(1)" : "none";
  context.drawImage(toCanvas(image), 0, 0, canvas.width, canvas.height);
  context.filter = "none";
}

// Colors the classes but for `background`, which is left as it is.
export function showMask(canvas, { width, height, classes }, background) {
  const colors = new Map();
  const image = new ImageData(width, height);
  classes.forEach((index, pixel) => {
    if (index === background) return;
    if (!colors.has(index)) colors.set(index, rgb(color(index)));
    image.data.set([...colors.get(index), Math.round(255 * OPACITY)], 4 * pixel);
  });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(toCanvas(image), 0, 0, canvas.width, canvas.height);
}

export function showBoxes(canvas, found, name) {
  const context = canvas.getContext("2d");
  const size = Math.max(14, canvas.width / 28);
  context.lineWidth = Math.max(2, canvas.width / 170);
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const { box, score, index } of [...found].reverse()) {
    const [left, right] = [box[0] * canvas.width, box[2] * canvas.width];
    const [top, bottom] = [box[1] * canvas.height, box[3] * canvas.height];
    const text = `${name(index)} ${Math.round(100 * score)} %`;
    const width = context.measureText(text).width + 8;
    // Inside the picture, wherever the box is.
    const x = Math.max(0, Math.min(left, canvas.width - width));
    const y = Math.max(size + 6, top);
    context.strokeStyle = context.fillStyle = color(index);
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillRect(x, y - size - 6, width, size + 6);
    context.fillStyle = "#000";
    context.fillText(text, x + 4, y - 2);
  }
}

function toCanvas(image) {
  const { width, height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The canvas knows how colors are written in bytes.
function rgb(text) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = text;
  const number = parseInt(context.fillStyle.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
