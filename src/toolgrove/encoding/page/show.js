"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { row: 0, code: "", search: "" };
let rows = [];

function make(tag, text = "", classes = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = classes;
  return node;
}

function textOf(row) {
  if (row.text === undefined) {
    const said = row.sequences.map((one) => one.pieces.map((piece) => piece[0]).join(""));
    const found = row.findings.map((one) => `${one.code} ${one.message}`);
    row.text = [row.where, row.problem, ...said, ...found].join("\n").toLowerCase();
  }
  return row.text;
}

function filter() {
  const wanted = state.search.toLowerCase().replaceAll("\n", "↵\n");
  rows = data.rows.filter(
    (row) =>
      (!state.code || row.findings.some((one) => one.code === state.code)) &&
      (!wanted || textOf(row).includes(wanted)),
  );
  state.row = Math.min(Math.max(state.row, 0), Math.max(rows.length - 1, 0));
}

function chooseToken(span, piece, rule) {
  document.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
  span.classList.add("chosen");
  const list = make("dl");
  const told = { text: piece[0], id: piece[1].join(" "), kind: data.kinds[piece[3]], weight: piece[2], rule };
  for (const [name, value] of Object.entries(told)) list.append(make("dt", name), make("dd", String(value)));
  byId("token").replaceChildren(list);
}

function drawPieces(sequence) {
  const pre = make("pre");
  sequence.pieces.forEach((piece, index) => {
    const [text, ids, weight, kind, rule] = piece;
    const span = make("span", text, `k-${data.kinds[kind]}${weight > 0 ? " on" : ""}`);
    const told = sequence.rules[rule][0];
    span.title = `${data.kinds[kind]} · weight ${weight} · id ${ids.join(" ")}${told ? ` · ${told}` : ""}`;
    span.addEventListener("click", () => chooseToken(span, piece, told));
    pre.append(span);
    const next = sequence.pieces[index + 1];
    if (weight !== 0 && weight !== 1 && (!next || next[2] !== weight)) pre.append(make("sup", `×${weight}`));
  });
  return pre;
}

function table(head, lines) {
  const node = make("table");
  const top = node.createTHead().insertRow();
  head.forEach((name) => top.append(make("th", name)));
  const body = node.createTBody();
  for (const [classes, ...cells] of lines) {
    const line = body.insertRow();
    line.className = classes;
    cells.forEach((cell) => line.append(make("td", String(cell))));
  }
  return node;
}

function drawTotals(row) {
  const parts = [];
  row.sequences.forEach((sequence, index) => {
    const which = row.sequences.length > 1 ? ` of sequence ${index + 1}` : "";
    parts.push(make("h2", `By kind${which}`), table(data.columns, sequence.totals));
    const rules = sequence.rules.filter(([rule]) => rule).map((line) => ["", ...line]);
    if (rules.length) parts.push(make("h2", `By rule${which}`), table(["rule", "tokens", "weight"], rules));
  });
  byId("totals").replaceChildren(...parts);
}

function drawDifference(row) {
  const parts = [];
  if (row.difference) {
    parts.push(make("h2", "Text against the model's own template"));
    if (row.difference.reason) parts.push(make("p", row.difference.reason));
    else if (row.difference.equal) parts.push(make("p", "equal, character for character"));
    else {
      const pre = make("pre");
      for (const [side, text] of row.difference.parts) {
        pre.append(make(side === "+" ? "ins" : side === "-" ? "del" : "i", text, { "+": "plus", "-": "minus" }[side] || "soft"));
      }
      parts.push(make("p", "struck out: only in the model's own; underlined: only in ours"), pre);
    }
  }
  byId("diff").replaceChildren(...parts);
}

function draw() {
  filter();
  const row = rows[state.row];
  byId("place").textContent = rows.length ? `${state.row + 1} of ${rows.length}` : "no row fits";
  byId("before").disabled = state.row <= 0;
  byId("after").disabled = state.row >= rows.length - 1;
  for (const id of ["token", "findings", "sequences"]) byId(id).replaceChildren();
  byId("token").textContent = "choose one in the text";
  byId("where").textContent = row ? row.where : "";
  if (!row) return [byId("totals"), byId("diff")].forEach((node) => node.replaceChildren());
  for (const one of row.findings) {
    const item = make("li");
    item.append(make("code", one.code, one.severity), make("span", ` ${one.path} ${one.message} `));
    item.append(make("span", `→ ${one.fix}`, "soft"));
    byId("findings").append(item);
  }
  if (row.problem) byId("sequences").append(make("p", row.problem, "error"));
  row.sequences.forEach((sequence, index) => {
    if (row.sequences.length > 1) byId("sequences").append(make("h2", `Sequence ${index + 1} of ${row.sequences.length}`));
    byId("sequences").append(drawPieces(sequence));
  });
  drawTotals(row);
  drawDifference(row);
}

function go(step) {
  state.row += step;
  draw();
  location.replace(`#${new URLSearchParams({ row: state.row + 1, code: state.code, search: state.search })}`);
}

function fromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  state.row = Number(asked.get("row") || 1) - 1;
  state.code = asked.get("code") || "";
  state.search = asked.get("search") || "";
  byId("code").value = state.code;
  byId("search").value = state.search;
  draw();
}

function codes() {
  const counts = new Map();
  for (const row of data.rows) {
    for (const code of new Set(row.findings.map((one) => one.code))) counts.set(code, (counts.get(code) || 0) + 1);
  }
  const all = make("option", `all ${data.rows.length} rows`);
  all.value = "";
  byId("code").append(all);
  for (const code of [...counts.keys()].sort()) {
    const option = make("option", `${code} (${counts.get(code)})`);
    option.value = code;
    byId("code").append(option);
  }
}

byId("before").addEventListener("click", () => go(-1));
byId("after").addEventListener("click", () => go(1));
byId("code").addEventListener("change", () => { state.code = byId("code").value; state.row = 0; go(0); });
byId("search").addEventListener("input", () => { state.search = byId("search").value; state.row = 0; go(0); });
document.addEventListener("keydown", (event) => {
  if (["INPUT", "SELECT"].includes(document.activeElement.tagName)) return;
  if (event.key === "ArrowLeft" && state.row > 0) go(-1);
  if (event.key === "ArrowRight" && state.row < rows.length - 1) go(1);
  if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
});
window.addEventListener("hashchange", fromAddress);
codes();
fromAddress();
