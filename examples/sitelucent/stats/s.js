// What the website's statistics do in a browser, once it may: a number in a cookie of the site, and a word on each page.
(() => {
  const known = document.cookie.match(/(?:^|; )_sl_stats=([0-9a-f]+)/);
  const id = known ? known[1] : [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  document.cookie = "_sl_stats=" + id + "; path=/; max-age=34128000; samesite=lax";
  navigator.sendBeacon("https://stats.example/hit", new URLSearchParams({ id, page: location.pathname }));
})();
