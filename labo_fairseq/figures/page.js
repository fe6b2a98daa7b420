"use strict";
// Hover, sortable tables and the sentence browser of page.html.j2. Text of the data reaches the page as textContent only.

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// --- values on hover; on a tap too, where there is no pointer ---

const tip = element("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);

function tipOf(target) {
  const owner = target.closest?.("[title], [data-tip], .tip");
  if (!owner) return "";
  if (!owner.dataset.tip) { // taken away from the browser, whose own tip would come on top later
    const title = owner.querySelector(":scope > title");
    owner.dataset.tip = title ? title.textContent : owner.title;
    if (title) title.remove();
    owner.removeAttribute("title");
  }
  return owner.dataset.tip;
}

function showTip(event) {
  const text = tipOf(event.target);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - tip.offsetWidth - 4);
  const below = event.clientY + 18;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 8 : below}px`;
}

document.addEventListener("pointerover", showTip);
document.addEventListener("click", showTip);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// --- tables sorted by a column: numbers as numbers, what is no number last ---

function number(text) {
  const value = parseFloat(text.replace("−", "-").replace(/,(?=\d{3})/g, ""));
  return Number.isNaN(value) ? null : value;
}

function sortTable(table, column, ascending) {
  const body = table.tBodies[0];
  const numeric = table.tHead.rows[0].cells[column].classList.contains("n");
  const rows = [...body.rows].map(row => {
    const text = row.cells[column].textContent.trim();
    return { row, text, value: numeric ? number(text) : text };
  });
  const sign = ascending ? 1 : -1;
  rows.sort((a, b) => {
    if (numeric) return a.value === null || b.value === null
      ? (a.value === null) - (b.value === null) : sign * (a.value - b.value);
    return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
  });
  body.append(...rows.map(one => one.row));
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  const headings = [...table.tHead.rows[0].cells];
  table.tHead.classList.add("sortable");
  headings.forEach((heading, column) => {
    heading.tabIndex = 0;
    heading.setAttribute("role", "button");
    heading.title = "sort";
    const sort = () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortTable(table, column, ascending);
    };
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}

// --- the sentence browser ---

const PAGE = 20; // cards that are made at a time
const [SCORE, CONFIDENCE, PIECES, PROBABILITIES, MARKS] = [0, 1, 2, 3, 4];

function tokens(system, output) {
  const line = element("dd");
  line.dir = "auto";
  const parts = output[PROBABILITIES];
  const shaded = (text, place, className) => {
    const span = element("span", `t ${className}`, text);
    if (parts) {
      const raw = parts[place];
      const p = system.calibrated ? system.calibrated[raw] : raw;
      span.classList.add(`p${Math.min(9, Math.floor(p / 100))}`);
      span.title = `${text.trim()}: p ${(raw / 1000).toFixed(3)}`
        + (system.calibrated ? `, calibrated ${(p / 1000).toFixed(3)}` : "");
    }
    return span;
  };
  output[PIECES].forEach((piece, place) => {
    const text = piece.trimStart();
    line.append(piece.slice(0, piece.length - text.length));
    line.append(shaded(text, place, output[MARKS][place] === "1" ? "d" : ""));
  });
  if (parts && parts.length > output[PIECES].length) line.append(shaded("end", parts.length - 1, "end"));
  return line;
}

function startBrowser(root) {
  const { systems, splits, sentences } = JSON.parse(document.getElementById("sentences").textContent);
  const form = root.querySelector("form");
  const [list, count, more] = [".cards", ".count", ".more"].map(name => root.querySelector(name));
  const control = form.elements;
  let found = [];
  let made = 0;
  const observer = new IntersectionObserver(entries => {
    if (entries.some(entry => entry.isIntersecting) && !more.hidden) addCards();
  }, { rootMargin: "600px" });

  for (const sentence of sentences) {
    const scores = sentence.out.map(output => output[SCORE]);
    const best = Math.max(...scores);
    const winners = scores.flatMap((score, i) => best - score < 0.005 ? [i] : []);
    sentence.winner = winners.length === 1 ? winners[0] : -1;
  }

  function text(sentence) {
    sentence.text ??= [sentence.source, sentence.reference, ...sentence.out.map(o => o[PIECES].join(""))]
      .join("\n").toLowerCase();
    return sentence.text;
  }

  function difference(sentence) {
    return sentence.out[control.system.value][SCORE] - sentence.out[control.against.value][SCORE];
  }

  const keys = {
    order: sentence => sentence.id,
    difference,
    score: sentence => sentence.out[control.system.value][SCORE],
    confidence: sentence => sentence.out[control.system.value][CONFIDENCE],
    disagreement: sentence => sentence.disagreement,
    length: sentence => sentence.words,
  };

  function wanted() {
    const words = control.search.value.toLowerCase();
    const least = control.least.value === "" ? -Infinity : Number(control.least.value);
    const most = control.most.value === "" ? Infinity : Number(control.most.value);
    const split = control.split ? control.split.value : "";
    const winner = control.winner ? control.winner.value : "";
    return sentence => sentence.words >= least && sentence.words <= most
      && (split === "" || sentence.split === Number(split))
      && (winner === "" || sentence.winner === Number(winner))
      && (words === "" || text(sentence).includes(words));
  }

  function update() {
    const key = keys[control.sort.value];
    const sign = control.direction.value === "up" || control.sort.value === "order" ? 1 : -1;
    found = sentences.filter(wanted()).map(sentence => [key(sentence), sentence]);
    found.sort(([a, first], [b, second]) => a === null || b === null
      ? (a === null) - (b === null) : sign * (a - b) || first.id - second.id);
    found = found.map(([, sentence]) => sentence);
    count.textContent = `${found.length} of ${sentences.length} sentences`;
    list.replaceChildren();
    made = 0;
    addCards();
  }

  function addCards() {
    list.append(...found.slice(made, made + PAGE).map(card));
    made = Math.min(made + PAGE, found.length);
    more.hidden = made >= found.length;
    observer.unobserve(more); // observed anew it reports again, where it is in view still
    observer.observe(more);
  }

  function card(sentence) {
    const facts = [`id ${sentence.id}`, `${sentence.words} words`];
    if (sentence.split !== null) facts.push(`frequency split: ${splits[sentence.split]}`);
    if (systems.length > 1) {
      const gain = difference(sentence);
      const names = [control.system.value, control.against.value].map(i => systems[i].name);
      facts.push(`${names.join(" − ")}: ${gain > 0 ? "+" : ""}${gain.toFixed(1)} chrF2`);
      facts.push(`disagreement ${sentence.disagreement.toFixed(2)}`);
    }
    const texts = element("dl");
    for (const name of ["source", "reference"]) {
      if (sentence[name] === null) continue;
      const line = element("dd", "", sentence[name]);
      line.dir = "auto";
      texts.append(element("dt", "", name), line);
    }
    const columns = element("div", "systems");
    sentence.out.forEach((output, i) => {
      if (!control[`show${i}`].checked) return;
      const confidence = output[CONFIDENCE] === null ? "" : `, confidence ${output[CONFIDENCE].toFixed(3)}`;
      const label = element("dt", "", element("b", "", systems[i].name));
      label.append(` chrF2 ${output[SCORE].toFixed(1)}${confidence}`);
      columns.append(element("dl", "", label, tokens(systems[i], output)));
    });
    return element("article", "card", element("h3", "", facts.join(" · ")), texts, columns);
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", event => event.preventDefault());
  more.addEventListener("click", addCards);
  form.hidden = false;
  update();
}

const browser = document.querySelector(".browser");
if (browser) startBrowser(browser);
