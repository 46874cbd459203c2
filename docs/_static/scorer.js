// How the search of the site orders its results: titles first, and results of experiments after the pages that explain them.
var Scorer = {
  score: ([docname, , , , score]) => (docname.startsWith("docs/") ? score : score / 4),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
