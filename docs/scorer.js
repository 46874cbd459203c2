// How the search of the site orders its results. Sphinx alone gives the same score to the page about a word and to every
// page with a heading that has the word, and then orders them by name.
const queryWords = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
const isSameWord = (a, b) => a.startsWith(b) || (b.startsWith(a) && a.length > 3); // also singular and plural

// From 20, where the title of a page begins with a word of the query and has all of them, to 0, where it has none.
function titleBonus(title) {
  const words = title.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const found = queryWords.map((word) => words.findIndex((one) => isSameWord(one, word))).filter((at) => at >= 0);
  if (!found.length) return 0;
  return (20 * found.length) / queryWords.length - (5 * Math.min(...found)) / words.length;
}

function isQuery(heading) {
  return heading.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean).join(" ") === queryWords.join(" ");
}

var Scorer = {
  score: ([docname, title, , , score]) => {
    const [page, heading] = title.split(" > ");
    const whole = score + Math.max(docname === "docs/index" ? 0 : titleBonus(page), heading && isQuery(heading) ? 12 : 0);
    return docname.startsWith("docs/") ? whole : whole / 4; // pages explain, and experiments prove
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
