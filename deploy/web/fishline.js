// From a photograph's file to an answer, as the Python package does it.

// The whole upright picture as RGB, transparent pixels black.
async function readPhotograph(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.fillRect(0, 0, width, height);
  canvas.drawImage(bitmap, 0, 0);
  const { data } = canvas.getImageData(0, 0, width, height);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    rgb[j++] = data[i];
    rgb[j++] = data[i + 1];
    rgb[j++] = data[i + 2];
  }
  return { rgb, width, height };
}

// Pillow's resize(…, BILINEAR), to the bit: a triangle as wide as the scale, weights of 22 bits,
// rows first and rounded to bytes between.
function resize({ rgb, width, height }, size) {
  const narrow = along(rgb, width, size, height, 3, width * 3, 3, size * 3);
  return along(narrow, height, size, size, size * 3, 3, size * 3, 3);
}

// `before` pixels to `after` along one axis, for each of `lines`; steps in bytes from a pixel to the
// next and from a line to the next, in what is read and in what is written.
function along(source, before, after, lines, step, line, stepOut, lineOut) {
  const out = new Uint8Array(after * lines * 3);
  const scale = before / after;
  const support = Math.max(scale, 1);
  for (let x = 0; x < after; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(before, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let i = first; i < end; i++) {
      weights.push(Math.max(0, 1 - Math.abs((i - centre + 0.5) / support)));
    }
    const sum = weights.reduce((a, b) => a + b);
    const fixed = weights.map((weight) => Math.trunc(0.5 + (weight / sum) * 2 ** 22));
    for (let y = 0; y < lines; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let total = 2 ** 21;
        let at = y * line + first * step + channel;
        for (const weight of fixed) {
          total += source[at] * weight;
          at += step;
        }
        out[y * lineOut + x * stepOut + channel] = total >> 22;
      }
    }
  }
  return out;
}

// The most specific of species, genus and family that is sure enough, else unknown.
function choose(probabilities, unknown, about) {
  const likeliest = Math.max(...probabilities);
  const answer = { name: "unknown", rank: "unknown", probability: likeliest };
  if (unknown) return answer;
  for (const [rank, names] of [["species", about.species], ["genus", about.genera], ["family", about.families]]) {
    const sums = new Map();
    names.forEach((name, i) => name && sums.set(name, (sums.get(name) ?? 0) + probabilities[i]));
    const [name, probability] = [...sums].reduce((a, b) => (b[1] > a[1] ? b : a), ["", -1]);
    if (probability >= about.confidence_threshold) return { name, rank, probability };
  }
  return answer;
}

// Asks a session of ONNX Runtime about one photograph.
async function ask(ort, session, about, file) {
  const size = about.image_size;
  const pixels = resize(await readPhotograph(file), size);
  const feeds = { pixels: new ort.Tensor("uint8", pixels, [1, size, size, 3]) };
  const { probabilities, distance, unknown } = await session.run(feeds);
  const shares = Array.from(probabilities.data);
  return { ...choose(shares, Boolean(unknown.data[0]), about), shares, distance: distance.data[0] };
}
