// What the strips share. Time runs to the right; the right edge is now.

// A canvas that is as sharp as the screen, and the colours of the page.
export class Strip {
  constructor(canvas, history) {
    this.canvas = canvas;
    this.history = history;
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
export function columns(history, shown, now, width) {
  const first = Math.max(history.oldest, Math.floor(now - shown));
  const x = (hop) => width - ((now - hop) / shown) * width;
  return { first, last: history.count, x };
}

// Text that can be read on any ground.
export function label(pen, text, x, y, colours, strong = false) {
  pen.font = `${strong ? "600 " : ""}12px ${colours.font}`;
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeStyle = colours.sheet;
  pen.strokeText(text, x, y);
  pen.fillStyle = strong ? colours.ink : colours.soft;
  pen.fillText(text, x, y);
}
