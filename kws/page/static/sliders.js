// A slider with a number beside it; both say the same.

const digits = (value) => Number(Number(value).toPrecision(4));

// `min` to `max` of what is said (`unit` of it: seconds, say), linear or by ratio; `value` is what the spotter has, and
// `shown` times it what is said.
export class Slider {
  constructor({ name, hint = "", min, max, step, ratio = false, shown = 1, onChange }) {
    Object.assign(this, { min, max, ratio, shown, onChange });
    this.row = document.createElement("div");
    this.row.className = "row";
    this.row.innerHTML = `<span></span><input type="number"><input type="range">`;
    [this.title, this.number, this.range] = this.row.children;
    this.title.textContent = name;
    if (hint) {
      const small = document.createElement("small");
      small.textContent = hint;
      this.title.after(small);
      small.style.gridColumn = "1 / 3";
      this.number.before(small);
      this.row.insertBefore(this.number, small);
    }
    this.number.setAttribute("aria-label", name);
    this.range.setAttribute("aria-label", name);
    Object.assign(this.number, { min: digits(min * shown), max: digits(max * shown), step: ratio ? "any" : digits(step * shown) });
    Object.assign(this.range, ratio ? { min: 0, max: 1000, step: 1 } : { min, max, step });
    this.range.addEventListener("input", () => this.#set(this.#fromRange(), this.number));
    this.number.addEventListener("change", () => this.#set(Number(this.number.value) / shown, this.range));
  }

  #fromRange() {
    const place = Number(this.range.value);
    return this.ratio ? digits(this.min * (this.max / this.min) ** (place / 1000)) : place;
  }

  #set(value) {
    if (!Number.isFinite(value)) return this.show(this.value);
    const step = this.ratio ? 0 : Number(this.range.step);
    let inside = Math.min(this.max, Math.max(this.min, value));
    if (step) inside = digits(Math.round(inside / step) * step);
    this.show(inside);
    this.onChange(inside);
  }

  show(value, stored = this.stored) {
    this.value = value;
    this.stored = stored;
    this.number.value = digits(value * this.shown);
    const place = this.ratio ? (1000 * Math.log(Math.max(value, this.min) / this.min)) / Math.log(this.max / this.min) : value;
    this.range.value = place;
    this.row.classList.toggle("changed", stored !== undefined && value !== stored);
  }
}
