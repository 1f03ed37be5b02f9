// Tells the cell of the heat map that a pointer, a finger or the arrow keys are at. Without it the same
// numbers are read from the map's figures.

const map = document.querySelector(".heat");
const readout = document.querySelector(".heat-readout");
let current = null;

function tell(cell) {
  current?.classList.remove("is-current");
  current = cell;
  cell.classList.add("is-current");
  const times = [...map.tHead.rows[0].cells].map((head) => head.textContent.trim());
  const text = cell.textContent.trim() || "nothing";
  const unit = /^[−\d]/.test(text) ? ` ${readout.dataset.unit}` : "";
  const [number, ...words] = text.split(" ");
  const value = unit ? `${number}${unit}${words.length ? `, ${words.join(" ")}` : ""}` : text;
  readout.textContent = `${cell.parentElement.cells[0].textContent.trim()}, from ${times[cell.cellIndex]}: ${value}`;
}

function cellAt(row, column) {
  const rows = map.tBodies[0].rows;
  const line = rows[Math.max(0, Math.min(rows.length - 1, row))];
  return line.cells[Math.max(1, Math.min(line.cells.length - 1, column))];
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function move(event) {
  const step = MOVES[event.key];
  if (!step) return;
  event.preventDefault();
  const row = current ? current.parentElement.sectionRowIndex + step[0] : 0;
  const column = current ? current.cellIndex + step[1] : 1;
  tell(cellAt(row, column));
}

if (map && readout) {
  map.tabIndex = 0;
  map.addEventListener("pointerover", (event) => {
    if (event.target.tagName === "TD" && event.target.closest("tbody")) tell(event.target);
  });
  map.addEventListener("focus", () => { if (!current) tell(cellAt(0, 1)); });
  map.addEventListener("keydown", move);
}
