/* What Sphinx's own Korean leaves empty: the line above the results of a search. */
Documentation.addTranslations({
  locale: "ko",
  plural_expr: "0",
  messages: {
    "Search finished, found one page matching the search query.": ["검색을 마쳤습니다. 찾은 페이지: ${resultCount}개."],
  },
});
