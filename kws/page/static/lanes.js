// A lane for each word: its averaged posterior, the posterior itself, its threshold.
import { Strip, columns, label } from "./strip.js";

export class LaneStrip extends Strip {
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
