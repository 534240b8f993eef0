(() => {
  "use strict";
  // A quicker hint than the browser's own, which stays for those without scripts.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.querySelector("main").append(tip);
  for (const svg of document.querySelectorAll("figure svg.wide")) {
    for (const hit of svg.querySelectorAll(".hit")) {
      const title = hit.querySelector("title");
      if (!title) continue;
      hit.dataset.hint = title.textContent;
      title.remove();
    }
    svg.addEventListener("pointermove", (event) => {
      const hint = event.target.dataset && event.target.dataset.hint;
      tip.hidden = !hint;
      if (!hint) return;
      tip.textContent = hint;
      const box = tip.getBoundingClientRect();
      const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
      const above = event.clientY - box.height - 12;
      tip.style.left = Math.max(8, left) + "px";
      tip.style.top = (above < 8 ? event.clientY + 18 : above) + "px";
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }
  // Names in a legend switch their lines.
  for (const figure of document.querySelectorAll("figure")) {
    const items = figure.querySelectorAll(".legend li");
    if (items.length < 2) continue;
    for (const item of items) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        for (const line of figure.querySelectorAll(`svg g[data-series="${item.dataset.series}"]`)) {
          line.style.display = shown ? "" : "none";
        }
      });
    }
  }
  for (const text of document.querySelectorAll("pre")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + text.getAttribute("aria-label"));
    text.previousElementSibling.after(button);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    });
  }
})();
