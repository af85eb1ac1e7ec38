// The strips on the screen, drawn when the browser is about to show a frame, and only when something has changed.
import { scaleNames } from "./colours.js";
import { DetectorStrip } from "./detector.js";
import { FeatureStrip } from "./features.js";
import { History } from "./history.js";
import { LaneStrip } from "./lanes.js";
import { remember, remembered } from "./remembered.js";
import { Slider } from "./sliders.js";
import { palette } from "./strip.js";

const SECONDS = 12; // that are remembered
const [WIDE, NARROW, LEAST] = [8, 4, 1]; // seconds that are shown; at least, of a short recording
const $ = (id) => document.getElementById(id);

export class Screen {
  constructor(facts, settings) {
    Object.assign(this, { facts, settings, now: 0, drawn: 0, follows: false, hops: Infinity });
    this.history = new History(facts, SECONDS);
    this.features = new FeatureStrip($("features"), this.history);
    this.detector = new DetectorStrip($("detector"), this.history);
    this.lanes = new LaneStrip($("lanes"), this.history);
    this.#look();
    const theme = () => ((this.colours = palette()), (this.dirty = true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
    theme();
    new ResizeObserver(() => (this.dirty = true)).observe($("features"));
    requestAnimationFrame((time) => this.#frame(time));
  }

  #look() {
    for (const name of scaleNames) $("colours").add(new Option(name, name));
    $("colours").value = remembered.colours;
    const choose = (values = {}) => {
      remember(values);
      this.features.choose(remembered.colours, remembered.contrast);
      this.dirty = true;
    };
    $("colours").addEventListener("change", () => choose({ colours: $("colours").value }));
    const contrast = new Slider({ name: "Range", hint: "standard deviations to the end of the scale", min: 0.5, max: 6, step: 0.1, onChange: (value) => choose({ contrast: value }) });
    const clear = new Slider({ name: "Word stays, s", hint: "0: until the next one", min: 0, max: 10, step: 0.5, onChange: (value) => remember({ clearAfter: value }) });
    contrast.show(remembered.contrast);
    clear.show(remembered.clearAfter);
    $("look").append(contrast.row, clear.row);
    choose();
  }

  configure(settings) {
    this.settings = settings;
    const words = settings.ignored.filter((ignored) => !ignored).length;
    $("lanes").style.setProperty("--lanes", words);
    $("lanes").style.setProperty("--lane", words > 12 ? "19px" : "");
    this.dirty = true;
  }

  // A stream begins. `follows`: it comes at the pace of time, so it is shown evenly though it comes in blocks. `hops` of a
  // recording, which is shown whole where that is possible.
  begin(follows, hops = Infinity) {
    this.follows = follows;
    this.hops = hops;
    this.history.clear();
    this.now = 0;
    this.dirty = true;
  }

  // Nothing more comes.
  end() {
    this.follows = false;
  }

  #advance(seconds) {
    const { count, hopSeconds } = this.history;
    const behind = count - this.now;
    if (!this.follows || behind > 1 / hopSeconds) return count;
    return Math.max(0, Math.min(count, this.now + (seconds / hopSeconds) * (1 + 0.2 * (behind - 4))));
  }

  #frame(time) {
    const now = this.#advance(Math.min((time - (this.before ?? time)) / 1000, 0.1));
    this.before = time;
    if (now !== this.now || this.dirty) {
      this.now = now;
      this.dirty = false;
      this.drawn += 1;
      const most = $("features").clientWidth > 560 ? WIDE : NARROW;
      const shown = Math.min(most / this.history.hopSeconds, Math.max(LEAST / this.history.hopSeconds, this.hops));
      for (const strip of [this.features, this.detector, this.lanes]) strip.draw(shown, now, this.colours, this.settings);
    }
    requestAnimationFrame((next) => this.#frame(next));
  }
}
