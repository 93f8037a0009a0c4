// What the outputs of a student mean: probabilities, masks, boxes.

const IOU_THRESHOLD = 0.5;
const MAX_DETECTIONS = 100;

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

// Probabilities of all classes; a single value is that of the second of two. `how` says
// whether values are probabilities, or logits of one class or of a yes or no each.
export function probabilities(logits, how) {
  const isGiven = how?.is_probability;
  if (logits.length === 1) {
    const second = isGiven ? logits[0] : sigmoid(logits[0]);
    return [1 - second, second];
  }
  if (isGiven) return Array.from(logits);
  if (how?.kind === "threshold") return Array.from(logits, sigmoid);
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// The class of each pixel, of scores (1, height, width, classes).
export function mask(tensor, how) {
  const [, height, width, count] = tensor.dims;
  const classes = new Uint16Array(height * width);
  for (let pixel = 0; pixel < classes.length; pixel += 1) {
    const at = pixel * count;
    let best = 0;
    for (let k = 1; k < count; k += 1) {
      if (tensor.data[at + k] > tensor.data[at + best]) best = k;
    }
    classes[pixel] = count === 1 ? Number(tensor.data[at] > (how?.threshold ?? 0)) : best;
  }
  return { height, width, classes };
}

// The objects found, best first: {box: [left, top, right, bottom], score, index}.
export function detections(outputs, nms, threshold) {
  const found = nms ? suppressedInGraph(outputs) : suppressed(outputs, threshold);
  return found
    .filter(({ score }) => score >= threshold)
    .sort((a, b) => b.score - a.score)
    .slice(0, MAX_DETECTIONS);
}

function suppressedInGraph(outputs) {
  const count = Number(outputs.num_detections.data[0]);
  return Array.from({ length: count }, (_, i) => ({
    box: boxAt(outputs.boxes.data, i),
    score: outputs.scores.data[i],
    index: Number(outputs.classes.data[i]),
  }));
}

function suppressed({ boxes, scores }, threshold) {
  const [, anchors, count] = scores.dims;
  const perClass = Array.from({ length: count }, () => []);
  for (let anchor = 0; anchor < anchors; anchor += 1) {
    for (let index = 0; index < count; index += 1) {
      const score = scores.data[anchor * count + index];
      if (score >= threshold) {
        perClass[index].push({ box: boxAt(boxes.data, anchor), score, index });
      }
    }
  }
  return perClass.flatMap(suppress);
}

// Non-maximum suppression of the objects of one class.
export function suppress(found) {
  const kept = [];
  for (const one of found.sort((a, b) => b.score - a.score)) {
    if (kept.length >= MAX_DETECTIONS) break;
    if (kept.every((other) => iou(one.box, other.box) <= IOU_THRESHOLD)) kept.push(one);
  }
  return kept;
}

function boxAt(data, index) {
  return Array.from(data.subarray(4 * index, 4 * index + 4));
}

function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (area(a) + area(b) - both);
}

function area([left, top, right, bottom]) {
  return (right - left) * (bottom - top);
}
