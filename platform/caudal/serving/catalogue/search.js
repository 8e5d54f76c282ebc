"use strict";
// Searches ENTRIES ([kind, name, page, table, told, also]) and offers to copy what can be queried. Texts are set as text only.
(function () {
  const box = document.getElementById("search");
  const list = document.getElementById("found");
  const status = document.getElementById("count");
  const up = document.body.dataset.up;
  const SHOWN = 40;
  // What people mostly look for comes before what it is made of.
  const FIRST = { marts: 12, staging: -25, raw: -25, quarantine: -35 };
  let chosen = -1;

  const lowered = ENTRIES.map((e) => ({ name: e[1].toLowerCase(), table: e[3].toLowerCase(), all: e.join(" ").toLowerCase() }));

  function worth(entry, low, words) {
    let sum = (entry[0] === "table" ? 20 : 0) + (FIRST[entry[3].split(".")[0]] || 0);
    for (const word of words) {
      if (low.name === word) sum += 100;
      else if (low.name.startsWith(word)) sum += 50;
      else if (low.name.includes(word)) sum += 30;
      else if (low.table.includes(word)) sum += 8;
      else if (low.all.includes(word)) sum += 4;
      else return null;
    }
    return sum;
  }

  function search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const hits = [];
    ENTRIES.forEach((entry, i) => {
      const sum = worth(entry, lowered[i], words);
      if (sum !== null) hits.push([sum, i]);
    });
    return hits.sort((a, b) => b[0] - a[0] || a[1] - b[1]).map((hit) => ENTRIES[hit[1]]);
  }

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function show() {
    const hits = search(box.value);
    chosen = -1;
    list.replaceChildren(...hits.slice(0, SHOWN).map((entry, i) => {
      const item = document.createElement("li");
      item.id = "found-" + i;
      item.setAttribute("role", "option");
      const link = document.createElement("a");
      link.href = up + entry[2];
      link.tabIndex = -1;
      link.append(element("b", entry[1]), entry[0] === "table" ? "" : " in " + entry[3]);
      link.append(element("small", entry[0] === "table" ? entry[3] + (entry[4] ? ": " + entry[4] : "") : entry[4]));
      item.append(link);
      return item;
    }));
    const asked = box.value.trim() !== "";
    if (asked && !hits.length) {
      const none = element("li", "Nothing is called or described like this.");
      list.append(none);
    }
    list.hidden = !asked;
    box.setAttribute("aria-expanded", String(asked));
    box.removeAttribute("aria-activedescendant");
    status.textContent = asked ? hits.length + " found" : "";
  }

  function choose(step) {
    const items = list.querySelectorAll("[role=option]");
    if (!items.length) return;
    if (chosen >= 0) items[chosen].removeAttribute("aria-selected");
    chosen = (chosen + step + items.length) % items.length;
    items[chosen].setAttribute("aria-selected", "true");
    items[chosen].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", items[chosen].id);
  }

  box.addEventListener("input", show);
  box.addEventListener("focus", () => { if (box.value) show(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(1);
    else if (event.key === "ArrowUp") choose(-1);
    else if (event.key === "Escape") { box.value = ""; show(); return; }
    else if (event.key === "Enter") {
      const link = list.querySelectorAll("a")[Math.max(chosen, 0)];
      if (link) { list.hidden = true; location.href = link.href; }
      return;
    } else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    if (!document.getElementById("searching").contains(event.target) || event.target.closest("#found a")) list.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input")) return;
    event.preventDefault();
    box.focus();
  });

  document.getElementById("searching").hidden = false;
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) { box.value = asked; box.focus(); show(); }

  if (navigator.clipboard) {
    for (const place of document.querySelectorAll(".copied")) {
      const button = element("button", "Copy");
      button.type = "button";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(place.querySelector("code").textContent);
        button.textContent = "Copied";
      });
      place.append(button);
    }
  }
})();
