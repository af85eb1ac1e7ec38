// The word in large letters, the list of the last ones, the level.
import { remembered } from "./remembered.js";

const LISTED = 200; // words in the list
const $ = (id) => document.getElementById(id);

export class Shown {
  constructor(facts) {
    this.facts = facts;
    this.settings = facts.settings;
    $("clear").addEventListener("click", () => this.clear());
  }

  configure(settings) {
    this.settings = settings;
  }

  // A stream begins, and time at 0 again.
  begin(remark) {
    this.shut(remark);
    this.first = true;
  }

  // A word was detected; `truth` is the label of the recording, or null.
  word({ label, confidence, time }, truth) {
    const word = this.facts.labels[label];
    const wrong = truth !== null && word !== truth;
    const sure = confidence.toFixed(2);
    this.say(word, wrong ? `${sure} · it was ${truth}` : sure, wrong ? "wrong" : "said", confidence);
    this.#list(`${time.toFixed(2)} s`, word, [sure, wrong ? `was ${truth}` : truth ? "✓" : ""], wrong, { word, time: time.toFixed(4), confidence: sure });
    if (remembered.clearAfter) this.clearing = setTimeout(() => this.shut(""), 1000 * remembered.clearAfter);
  }

  // A recording is over.
  over({ truth, words }) {
    if (truth === null || words.length) return;
    const due = !this.settings.ignored[this.facts.labels.indexOf(truth)];
    this.say("", due ? `nothing heard · it was ${truth}` : `nothing heard, and rightly: it was ${truth}`, "empty");
    if (due) this.#list("", "–", [`was ${truth}`], true);
  }

  // `state`: "said", "wrong" or "empty"; without a word the remark stands in its place.
  say(word, remark, state, confidence = 0) {
    clearTimeout(this.clearing);
    $("word").textContent = word || remark || "…";
    $("word").dataset.state = state;
    $("verdict").textContent = word ? remark : "";
    $("verdict").classList.toggle("wrong", state === "wrong");
    $("confidence").style.height = `${100 * confidence}%`;
  }

  // Take the word away.
  shut(remark) {
    this.say("", remark, "empty");
  }

  clear() {
    this.shut("");
    $("list").replaceChildren();
  }

  #list(when, word, notes, wrong, facts = {}) {
    const item = document.createElement("li");
    for (const [name, text] of [["span", when], ["b", word], ["span", notes.filter(Boolean).join("  ")]]) {
      item.append(Object.assign(document.createElement(name), { textContent: text }));
    }
    item.classList.toggle("wrong", wrong);
    item.classList.toggle("first", this.first);
    this.first = false;
    Object.assign(item.dataset, facts);
    $("list").prepend(item);
    while ($("list").children.length > LISTED) $("list").lastChild.remove();
  }

  level({ peak, power }) {
    const decibel = 10 * Math.log10(Math.max(power, 1e-9));
    const meter = $("level").parentElement;
    $("level").style.width = `${Math.max(0, Math.min(100, 100 + (decibel * 100) / 60))}%`;
    meter.classList.toggle("clipped", peak >= 0.999);
    meter.setAttribute("aria-valuenow", Math.round(Math.max(-60, decibel)));
  }
}
