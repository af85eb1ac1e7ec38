// Colour scales for features, as tables of 256 colours.

const SCALES = {
  viridis: ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"],
  ember: ["#050308", "#22102e", "#571049", "#8f1d4d", "#c43c3d", "#e86a24", "#f9a215", "#fbd94d", "#fdf9d0"],
  grey: ["#0b0b0c", "#2a2a2c", "#48484b", "#67676a", "#86868a", "#a5a5a9", "#c4c4c8", "#e1e1e4", "#fbfbfc"],
  paper: ["#fdfcf9", "#e9e5dc", "#cfcabd", "#b2ab9b", "#948c7b", "#766e5e", "#574f42", "#393329", "#1b1712"],
};

export const scaleNames = Object.keys(SCALES);

// (256 · 3) bytes.
export function scale(name) {
  const stops = (SCALES[name] ?? SCALES.viridis).map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(place), stops.length - 2);
    for (let j = 0; j < 3; j++) table[3 * i + j] = stops[k][j] + (place - k) * (stops[k + 1][j] - stops[k][j]);
  }
  return table;
}
