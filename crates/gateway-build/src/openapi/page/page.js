
"use strict";
(() => {
  const box = document.getElementById("search");
  const input = box.querySelector("input");
  const operations = [...document.querySelectorAll(".operation")].map((article) => ({
    article,
    text: article.dataset.search,
    entry: document.querySelector(`nav a[href="#${CSS.escape(article.id)}"]`)?.parentElement,
  }));
  box.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { article, text, entry } of operations) {
      const hidden = !words.every((word) => text.includes(word));
      article.hidden = hidden;
      if (entry) entry.hidden = hidden;
    }
  });
})();
