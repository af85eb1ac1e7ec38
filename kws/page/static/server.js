// What only `python -m kws.view` can do. The page carries its token; a static page has none.

const token = document.querySelector("meta[name=kws-token]").content;

export const served = token !== "";

async function ask(path, options = {}) {
  const headers = { "X-Kws-Token": token, ...options.headers };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.ok) return answer;
  const text = await answer.text();
  throw new Error(text || `the server answered ${answer.status}`);
}

const json = async (path, options) => (await ask(path, options)).json();

export const server = {
  sources: () => json("api/sources"),
  clips: (source) => json(`api/clips/${source}`),
  clip: async (source, index) => (await ask(`api/clips/${source}/${index}`)).arrayBuffer(),
  save: (what) => json("api/save", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) }),
  recordings: () => json("api/recordings"),
  record: (word, speaker, wav) =>
    json(`api/recordings?${new URLSearchParams({ word, speaker })}`, { method: "POST", headers: { "Content-Type": "audio/wav" }, body: wav }),
};

// Files of the page itself: the engine and what it is told of the spotter.
export async function fileOfPage(name) {
  const answer = await ask(name);
  return name.endsWith(".json") ? answer.json() : answer.arrayBuffer();
}
