// Level, noise floor, both thresholds, the voice signal, and every reset of the network.
import { Strip, columns } from "./strip.js";

export class DetectorStrip extends Strip {
  constructor(canvas, history) {
    super(canvas, history);
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
        const from = hop;
        while (hop < last && history.voice[history.at(hop)]) hop++;
        if (hop > from) pen.fillRect(x(from), 0, x(hop) - x(from), height); // in one piece, so that no seams show
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
