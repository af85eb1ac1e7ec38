// What the page remembers in this browser, from one visit to the next.

const KEY = "kws.page";
const DEFAULTS = {
  device: "", colours: "viridis", contrast: 2.5, clearAfter: 2, aloud: true, speaker: "", words: "", takes: 5,
  source: "", place: {}, tuned: {},
};

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // damaged, or storing is not allowed here
  }
}

export const remembered = { ...DEFAULTS, ...stored() };

export function remember(values) {
  Object.assign(remembered, values);
  try {
    localStorage.setItem(KEY, JSON.stringify(remembered));
  } catch {
    // a private window may refuse; then it lasts for this visit
  }
}
