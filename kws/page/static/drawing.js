// The strips: features, detector, posteriors. Time runs to the right; the right edge is now.
import { scale } from "./colours.js";

// A canvas that is as sharp as the screen, and the colours of the page.
class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
  }

  begin() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    return { width, height };
  }
}

// The page's colours by name, read again when it turns dark or light.
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "soft", "faint", "line", "accent", "accent-soft", "floor", "low", "voice", "bad", "sheet"];
  const colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...colours, font: getComputedStyle(document.body).fontFamily };
}

// What part of the history is shown: `now` is a hop and may lie between two.
function columns(history, shown, now, width) {
  const first = Math.max(history.oldest, Math.floor(now - shown));
  const x = (hop) => width - ((now - hop) / shown) * width;
  return { first, last: history.count, x };
}

function label(pen, text, x, y, colours, strong = false) {
  pen.font = `${strong ? "600 " : ""}12px ${colours.font}`;
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeStyle = colours.sheet;
  pen.strokeText(text, x, y);
  pen.fillStyle = strong ? colours.ink : colours.soft;
  pen.fillText(text, x, y);
}

// Features as the network sees them: normalised, low frequencies below.
export class FeatureStrip extends Strip {
  constructor(canvas, history) {
    super(canvas);
    this.history = history;
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

// Level, noise floor, both thresholds, the voice signal, and every reset of the network.
export class DetectorStrip extends Strip {
  constructor(canvas, history) {
    super(canvas);
    this.history = history;
    this.top = 1e-3;
  }

  draw(shown, now, colours, settings) {
    const { pen, history } = this;
    const { width, height } = this.begin();
    const { first, last, x } = columns(history, shown, now, width);
    let [top, bottom] = [settings.reset ? settings.vad.level_threshold : 0, 0];
    for (let hop = first; hop < last; hop++) {
      const at = history.at(hop);
      top = Math.max(top, history.level[at], history.floor[at]);
      bottom = Math.min(bottom, history.level[at], history.floor[at]);
    }
    this.top += (top - this.top) * (top > this.top ? 0.5 : 0.03);
    const y = (value) => height - 6 - ((value - bottom) / Math.max(this.top - bottom, 1e-6)) * (height - 26);
    if (settings.reset) {
      pen.fillStyle = colours.voice;
      for (let hop = first; hop < last; hop++) {
        if (history.voice[history.at(hop)]) pen.fillRect(x(hop), 0, x(hop + 1) - x(hop) + 0.5, height);
      }
    }
    const curve = (value, colour, lineWidth, dashes = []) => {
      pen.beginPath();
      for (let hop = first; hop < last; hop++) pen.lineTo(x(hop + 0.5), Math.max(-9, y(value(history.at(hop)))));
      pen.strokeStyle = colour;
      pen.lineWidth = lineWidth;
      pen.setLineDash(dashes);
      pen.stroke();
    };
    if (settings.reset) {
      const { threshold_up: up, threshold_down: down, level_threshold: least } = settings.vad;
      curve((at) => Math.max(up * history.floor[at], least), colours.accent, 1.5, [5, 4]);
      curve((at) => down * history.floor[at], colours.low, 1.5, [5, 4]);
    }
    curve((at) => history.floor[at], colours.floor, 1.5);
    curve((at) => history.level[at], colours.ink, 1.5);
    pen.setLineDash([]);
    pen.fillStyle = colours.bad;
    for (let hop = first; hop < last; hop++) {
      if (!history.reset[history.at(hop)]) continue;
      const at = x(hop + 1);
      pen.fillRect(at - 0.75, 0, 1.5, height);
      pen.beginPath();
      pen.moveTo(at - 5, 0);
      pen.lineTo(at + 5, 0);
      pen.lineTo(at, 8);
      pen.fill();
    }
  }
}

// A lane for each word: its averaged posterior, the posterior itself, its threshold.
export class LaneStrip extends Strip {
  constructor(canvas, history) {
    super(canvas);
    this.history = history;
  }

  draw(shown, now, colours, settings) {
    const { pen, history } = this;
    const { labels } = history.facts;
    const words = labels.map((_, i) => i).filter((i) => !settings.ignored[i]);
    const { width, height } = this.begin();
    const { first, last, x } = columns(history, shown, now, width);
    const lane = height / Math.max(words.length, 1);
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    words.forEach((word, i) => {
      const base = (i + 1) * lane - 1;
      const y = (value) => base - value * (lane - 4);
      pen.fillStyle = colours.line;
      pen.fillRect(0, base, width, 1);
      pen.beginPath();
      pen.moveTo(x(first), base);
      for (let hop = first; hop < last; hop++) pen.lineTo(x(hop + 0.5), y(history.smoothed[history.at(hop) * labels.length + word]));
      pen.lineTo(x(last), base);
      pen.fillStyle = colours["accent-soft"];
      pen.fill();
      pen.beginPath();
      for (let hop = first; hop < last; hop++) pen.lineTo(x(hop + 0.5), y(history.posteriors[history.at(hop) * labels.length + word]));
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 1;
      pen.stroke();
      pen.setLineDash([2, 4]);
      pen.beginPath();
      pen.moveTo(0, y(settings.threshold[word]));
      pen.lineTo(width, y(settings.threshold[word]));
      pen.strokeStyle = colours.faint;
      pen.stroke();
      pen.setLineDash([]);
      label(pen, labels[word], 6, base - lane / 2 + 1, colours);
    });
    for (const { hop, label: word } of history.detections) {
      const i = words.indexOf(word);
      if (i < 0) continue;
      pen.beginPath();
      pen.arc(x(hop + 1), (i + 0.5) * lane, 4, 0, 2 * Math.PI);
      pen.fillStyle = colours.ink;
      pen.fill();
    }
  }
}
