// Features as the network sees them: normalised, low frequencies below.
import { scale } from "./colours.js";
import { Strip, columns, label } from "./strip.js";

export class FeatureStrip extends Strip {
  constructor(canvas, history) {
    super(canvas, history);
    const { features } = history.facts;
    this.picture = new OffscreenCanvas(history.size, features);
    this.picturePen = this.picture.getContext("2d", { willReadFrequently: true });
    this.column = this.picturePen.createImageData(1, features);
    this.painted = 0;
    this.choose("viridis", 2.5);
  }

  // `deviations` from the mean at which the scale ends, on either side.
  choose(name, deviations) {
    this.table = scale(name);
    this.deviations = deviations;
    this.painted = 0;
  }

  paint() {
    const { history, column } = this;
    const { features, mean, deviation } = history.facts;
    if (this.painted > history.count) this.painted = 0;
    for (let hop = Math.max(this.painted, history.oldest); hop < history.count; hop++) {
      const at = history.at(hop) * features;
      for (let i = 0; i < features; i++) {
        const value = (history.features[at + i] - mean[i]) / deviation[i];
        const place = Math.max(0, Math.min(255, Math.round(127.5 + (127.5 * value) / this.deviations)));
        const pixel = 4 * (features - 1 - i);
        for (let j = 0; j < 3; j++) column.data[pixel + j] = this.table[3 * place + j];
        column.data[pixel + 3] = 255;
      }
      this.picturePen.putImageData(column, history.at(hop), 0);
    }
    this.painted = history.count;
  }

  draw(shown, now, colours) {
    this.paint();
    const { pen, history } = this;
    const { width, height } = this.begin();
    const { first, last, x } = columns(history, shown, now, width);
    pen.imageSmoothingEnabled = false;
    for (let from = first; from < last; ) {
      const at = history.at(from);
      const count = Math.min(last - from, history.size - at);
      pen.drawImage(this.picture, at, 0, count, history.facts.features, x(from), 0, x(from + count) - x(from), height);
      from += count;
    }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    for (const { hop, label: word } of history.detections) {
      const at = x(hop + 1);
      if (at < 0) continue;
      pen.fillStyle = colours.accent;
      pen.fillRect(at - 1, 0, 2, height);
      label(pen, history.facts.labels[word], Math.min(Math.max(at, 24), width - 24), 6, colours, true);
    }
    const seconds = shown * history.hopSeconds;
    pen.textBaseline = "bottom";
    for (let second = Math.ceil(Math.max(0, now * history.hopSeconds - seconds)); second <= now * history.hopSeconds; second++) {
      const at = x(second / history.hopSeconds);
      if (at > 12 && at < width - 12) label(pen, `${second} s`, at, height - 4, colours);
    }
  }
}
