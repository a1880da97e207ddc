// What copy buttons give, and the box that filters settings.
"use strict";

// Of a console block, the commands: neither prompts nor what is shown below them.
for (const code of document.querySelectorAll(".language-console code")) {
  const commands = [];
  let goesOn = false;
  for (const line of code.textContent.split("\n")) {
    if (goesOn) commands.push(line);
    else if (/^[$#] /.test(line)) commands.push(line.slice(2));
    else continue;
    goesOn = line.endsWith("\\");
  }
  // mkdocs-material copies this attribute in the place of the text.
  if (commands.length) code.closest(".highlight").setAttribute("data-copy", commands.join("\n"));
}

const lists = [...document.querySelectorAll("dl.settings")];
if (lists.length) {
  const box = document.createElement("input");
  box.type = "search";
  box.className = "settings-filter";
  box.placeholder = "Filter: a name, or a word of its meaning";
  box.setAttribute("aria-label", "Filter the options and settings");
  const heading = document.getElementById("options");
  heading.after(box);
  const cards = lists.flatMap(list => [...list.querySelectorAll("div")]);
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) {
      const text = card.textContent.toLowerCase();
      card.hidden = !words.every(word => text.includes(word));
    }
    for (const list of lists) {
      const empty = ![...list.children].some(card => !card.hidden);
      list.hidden = empty;
      // The heading of a section that has nothing to show.
      if (list.previousElementSibling?.tagName === "H3") list.previousElementSibling.hidden = empty;
    }
  };
  box.addEventListener("input", filter);
  // An address such as settings.html#limit_request_line is shown whatever the box says.
  window.addEventListener("hashchange", () => { box.value = ""; filter(); });
}
