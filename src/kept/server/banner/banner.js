// Kept's banner: asks about what the policy file declares as a visitor's choice, holds back what waits for a yes, and
// keeps what was said in this browser until the company's own server has it. No dependency, no build step; it runs under
// a strict content-security policy with a nonce, and stores nothing before somebody chooses.
//
//   <script src="https://privacy.company.example/banner.js" data-region="fr" nonce="…" defer></script>
//
// data-region    where the visitor is, in the policy language's words (eea, fr, us-ca); without it the strictest region
// data-language  the language of the banner; without it the page's, else the browser's
// data-google    Consent Mode v2: "analytics_storage=statistics ad_storage=advertising …", several choices with commas
// data-button    "off": no floating button, for pages with a link of their own (it shows all the same where it has to say
//                that the browser's signal is honoured)
//
// What waits names its choices, all of which must stand, and its address in data-…:
//
//   <script type="text/plain" data-kept="statistics" data-src="https://stats.example/s.js" nonce="…"></script>
//   <iframe data-kept="advertising" data-src="https://films.example/7" title="A film"></iframe>
//   <img data-kept="statistics, advertising" data-src="…">    <link rel="stylesheet" data-kept="fonts" data-href="…">
//
// Any element with data-kept-open opens the choices, as does kept.open(); kept.allows("statistics") says how one stands,
// the event kept:change on the document says it whenever that changes, and kept.visitor is the number that this browser
// made with the first answer: what the company's log-in hands on, so that the answers become the person's.
(() => {
  "use strict";
  const doc = document, me = doc.currentScript, options = me.dataset, base = me.src.replace(/[^/]*$/, "");
  const REST = 184 * 864e5; // six months, in which a refusal is not asked about again
  const SHOWN = ["src", "srcset", "href"]; // what a declared element gets from data-… once it may load
  let config, own = {}, later = {}, denied, wanted, opener, sending, retry, tries = 0;
  let host, root, card, pill, dialog, says;
  const ran = new Map(), covers = new Map();

  // What one element or one of the page's own listeners makes fail must not keep the rest from being done.
  const safely = (does, of) => { try { does(of); } catch (wrong) { console.error("kept:", of, wrong); } };

  // What this browser keeps, all under one key: who (a random number, made with the first answer), what was answered,
  // and what the server hasn't got yet. Where storage is denied it holds for this page.
  const stored = (area, or) => { try { return JSON.parse(window[area].kept || "{}"); } catch { return or; } };
  const store = (area, value) => { try { window[area].kept = JSON.stringify(value); } catch { denied = true; } };
  const recall = () => { if (!denied) own = { answers: {}, queue: [], seen: {}, ...stored("localStorage", own) }; };
  const keep = (change) => { recall(); change(); store("localStorage", own); };
  const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => (b + 256).toString(16).slice(1)).join("");

  // What stands.
  const when = (one) => one ? Date.parse(one.at) : 0;
  const answer = (c) => own.answers[c.name] && own.answers[c.name].answer;
  const asksFirst = (c) => c.ask.endsWith("opt-in");
  const signal = (c) => c.gpc && (config.gpc || navigator.globalPrivacyControl === true) && answer(c) !== "yes";
  const twice = (c) => c.ask[0] === "d" && c.state !== "given"; // a double opt-in that isn't confirmed yet
  const stands = (c) => answer(c) ? answer(c) === "yes" && !twice(c) : !asksFirst(c) && !signal(c);
  const standing = () => config.choices.map(stands).join();
  const allows = (name) => !!config && config.choices.some((c) => c.name === name && stands(c));
  const waits = (c) => answer(c)
    ? c.must && answer(c) === "no" && Date.now() - when(own.answers[c.name]) > REST
    : (asksFirst(c) ? later : own.seen)[c.name] !== c.meaning;

  // What waits for a choice: scripts, frames, pixels, styles. Several names: each must stand.
  const may = (names) => names.trim().split(/[\s,]+/).every(allows);
  const settle = (e) => safely(() => (may(e.dataset.kept) ? start : stop)(e), e);
  const start = (e) => {
    if (e.tagName === "SCRIPT") return run(e);
    if (covers.has(e)) uncover(e);
    for (const name of SHOWN) {
      const url = e.dataset[name];
      if (url && e.getAttribute(name) !== url && /^http/.test(new URL(url, doc.baseURI).protocol)) e.setAttribute(name, url);
    }
  };
  const run = (e) => {
    // A script of the page's own bears the page's nonce; one that somebody slipped into its text doesn't, and never runs.
    if (ran.has(e) || (me.nonce && e.nonce !== me.nonce)) return;
    ran.set(e, e.dataset.kept);
    const script = doc.createElement("script");
    for (const { name, value } of e.attributes) if (!/^(type|nonce|data-(kept|src|type))$/.test(name)) script.setAttribute(name, value);
    script.async = e.hasAttribute("async");
    script.nonce = e.nonce;
    if (e.dataset.type) script.type = e.dataset.type;
    if (e.dataset.src) script.src = e.dataset.src;
    else script.text = e.text;
    e.removeAttribute("id");
    e.after(script);
  };
  const stop = (e) => {
    if (e.tagName !== "IFRAME") return SHOWN.forEach((name) => e.dataset[name] && e.removeAttribute(name));
    if (e.hasAttribute("src")) {
      const empty = e.cloneNode();
      empty.removeAttribute("src");
      e.replaceWith(empty);
      e = empty;
    }
    if (!covers.has(e)) cover(e);
  };
  const cover = (frame) => {
    const look = getComputedStyle(frame), { width, height } = frame.getBoundingClientRect(), place = h("div", {});
    const names = config.choices.filter((c) => frame.dataset.kept.split(/[\s,]+/).includes(c.name));
    for (const name of ["margin", "position", "inset", "float", "verticalAlign"]) place.style[name] = look[name];
    Object.assign(place.style, {
      display: look.display === "inline" ? "inline-block" : look.display, boxSizing: "border-box",
      width: width + "px", height: height + "px", maxWidth: "100%", overflow: "auto",
    });
    const allow = () => { choose(names, () => "yes"); frame.focus(); };
    shade(place).append(h("div", { className: "cover" },
      h("strong", {}, fill("frame", { host: new URL(frame.dataset.src, doc.baseURI).host })),
      h("p", {}, fill("frame-text", { names: titles(names) })), buttons(["allow", allow])));
    covers.set(frame, [place, frame.style.display]);
    frame.before(place);
    frame.style.display = "none";
  };
  const uncover = (frame) => {
    const [place, display] = covers.get(frame);
    covers.delete(frame);
    place.remove();
    frame.style.display = display;
  };

  // What is taken away with a choice: its cookies for every path and domain they may have been set on, its storage.
  const sweep = () => {
    for (const c of config.choices) if (!stands(c)) {
      for (const pair of doc.cookie.split("; ")) {
        const name = pair.split("=")[0];
        if (fits(name, c.cookies)) expire(name);
      }
      for (const area of ["localStorage", "sessionStorage"]) try {
        for (const name of Object.keys(window[area])) if (name !== "kept" && fits(name, c.storage)) window[area].removeItem(name);
      } catch { /* denied */ }
    }
  };
  const fits = (name, patterns) => name && patterns.some((pattern) =>
    RegExp("^" + pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*") + "$").test(name));
  const expire = (name) => {
    const parts = location.hostname.split("."), steps = location.pathname.split("/"), secure = location.protocol === "https:" ? ";secure" : "";
    const domains = ["", ...parts.map((_, i) => ";domain=" + parts.slice(i).join("."))];
    const paths = steps.flatMap((_, i) => [steps.slice(0, i + 1).join("/"), steps.slice(0, i).join("/") + "/"]);
    for (const domain of domains) for (const path of paths) {
      doc.cookie = name + "=;max-age=0;path=" + (path || "/") + domain + secure;
    }
  };

  // Google Consent Mode v2: data-google="analytics_storage=statistics ad_storage=advertising …"
  function gtag() { (window.dataLayer = window.dataLayer || []).push(arguments); }
  const google = (verb) => {
    if (!options.google) return;
    const said = verb === "default" ? { wait_for_update: 500 } : {};
    for (const pair of options.google.trim().split(/\s+/)) {
      const [name, choices = ""] = pair.split("=");
      said[name] = choices.split(",").every(allows) ? "granted" : "denied";
    }
    gtag("consent", verb, said);
  };

  const apply = () => {
    // A script that has run can't be taken back: the page is loaded anew, without it, whatever else goes wrong here.
    if ([...ran.values()].some((names) => !may(names))) {
      store("sessionStorage", { ...stored("sessionStorage", {}), saved: true });
      location.reload();
    }
    safely(sweep);
    safely(google, "update");
    doc.querySelectorAll("[data-kept]").forEach(settle);
    doc.dispatchEvent(new CustomEvent("kept:change", { detail: Object.fromEntries(config.choices.map((c) => [c.name, stands(c)])) }));
  };

  // An answer is kept here first; then it is sent, and stays in the queue until the server has taken or refused it.
  const choose = (choices, answerOf) => {
    if (choices.length) keep(() => {
      // Never before what was said here before, wherever the device's clock was set meanwhile.
      const at = new Date(Math.max(Date.now() + config.ahead, ...Object.values(own.answers).map((one) => when(one) + 1))).toISOString();
      const answers = {};
      for (const c of choices) {
        answers[c.name] = answerOf(c);
        // What the server said is over with this: a yes it had confirmed doesn't confirm another.
        if (!(stands(c) && answers[c.name] === "yes")) c.state = null;
        own.answers[c.name] = { answer: answers[c.name], at };
      }
      own.visitor = own.visitor || random();
      own.config = config;
      own.queue = [...own.queue, { id: random(), visitor: own.visitor, notice: config.notice, at, region: config.region, choices: answers }].slice(-99);
    });
    says.textContent = config.words.saved;
    deliver();
    apply();
    show();
  };
  const deliver = async () => {
    if (sending) return;
    sending = true;
    clearTimeout(retry);
    for (let record; (record = own.queue[0]);) {
      const got = await fetch(base + "choices", {
        method: "POST", body: JSON.stringify(record), keepalive: true, credentials: "omit", signal: AbortSignal.timeout(3e4),
      }).catch(() => 0);
      const told = got && await got.json().catch(() => 0);
      // Only what Kept itself says ends it, not a proxy with nothing behind it, nor a firewall: our answers bear our time.
      if (!told || !told.now || !(got.ok || told.reason) || got.status === 429 || got.status >= 500) {
        const wait = Math.min((got && +got.headers.get("Retry-After")) || 2 ** tries++, 300);
        retry = setTimeout(deliver, wait * 1e3 * (1 + Math.random()));
        break;
      }
      tries = 0;
      const before = standing();
      keep(() => {
        own.queue = own.queue.filter((one) => one.id !== record.id);
        if (told.receipt) own.receipt = new URL(told.receipt, base).href;
        for (const c of config.choices) {
          const mine = own.answers[c.name], state = (told.states || {})[c.name];
          if (!record.choices[c.name] || !mine || mine.at !== record.at) continue; // answered anew meanwhile
          mine.at = told.now; // by the server's clock: only what comes after this can undo it
          if (!state) continue;
          c.state = /Given/.test(state) ? "given" : /Refused|Withdrawn|Revoked/.test(state) ? "refused" : null;
          if (c.state === "refused") mine.answer = "no"; // a no that is in force there holds here; a yes never undoes a no
        }
        own.config = config;
      });
      if (standing() !== before) { apply(); show(); }
    }
    sending = false;
  };
  // Whoever closes what only tells them has seen it; whoever closes a question is asked again in another visit.
  const pass = () => {
    for (const c of config.choices) if (asksFirst(c)) later[c.name] = c.meaning;
    store("sessionStorage", { later });
    if (config.choices.some((c) => !asksFirst(c) && waits(c))) keep(() => {
      for (const c of config.choices) if (!asksFirst(c)) own.seen[c.name] = c.meaning;
    });
  };

  const learn = async () => {
    const query = new URLSearchParams({ language: options.language || doc.documentElement.lang || navigator.languages.join() });
    if (options.region) query.set("region", options.region);
    if (own.visitor) query.set("visitor", own.visitor);
    const queued = () => own.queue.flatMap((record) => Object.keys(record.choices)), waiting = queued(), before = { ...own.answers };
    try {
      const got = await fetch(base + "banner.json?" + query, { credentials: "omit", signal: AbortSignal.timeout(5000) });
      const read = got.ok && await got.json();
      if (!read) throw 0;
      const now = Date.parse(read.now);
      read.ahead = now - Date.now(); // a clock that is wrong here must not make an answer wrong there
      if (own.visitor) keep(() => {
        for (const c of read.choices) {
          const mine = own.answers[c.name];
          if ([...waiting, ...queued()].includes(c.name) || (mine && mine.at !== (before[c.name] || {}).at)) {
            c.must = false; // the server didn't know it yet
            c.state = null;
          } else {
            // A no of this browser's yields to no yes of its own: one that stands there is older, whatever the clocks said.
            const older = c.here && c.state === "given" && mine && mine.answer === "no";
            if (c.state && !older && when(c) > when(mine)) own.answers[c.name] = { answer: c.state === "given" ? "yes" : "no", at: c.at };
            // A yes that the server doesn't know, that lapsed, or that no longer covers what would be done, is none.
            if (c.must && own.answers[c.name] && own.answers[c.name].answer === "yes") delete own.answers[c.name];
          }
          if (mine && when(mine) > now) mine.at = read.now; // the clock here was ahead
        }
        own.config = read;
      });
      config = read;
    } catch { config = own.config; } // the server is away: what was last known, else all stays refused
  };

  // What people see. It lives in a shadow, so that neither the page's style nor ours gets into the other.
  const h = (tag, properties, ...inside) => {
    const e = doc.createElement(tag);
    for (const name in properties) name in e ? e[name] = properties[name] : e.setAttribute(name, properties[name]);
    e.append(...inside);
    return e;
  };
  const shade = (place) => {
    Object.assign(place, { lang: config.language, dir: config.direction });
    const shadow = place.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheet]; // one for all of them, read once
    place.style.visibility = "hidden"; // until its style is there, so that nothing is seen to move
    styled.then(() => { place.style.visibility = ""; if (place === host) enter(); });
    return shadow;
  };
  const fill = (word, values) => config.words[word].replace(/{(\w+)}/g, (_, name) => values[name]);
  const titles = (choices) => choices.length > 1 ? new Intl.ListFormat(config.language).format(choices.map((c) => c.title)) : choices.map((c) => c.title).join();
  const buttons = (...all) => h("div", { className: "buttons" }, ...all.map(([word, onclick, className = ""]) =>
    h("button", { type: "button", onclick, className }, config.words[word])));
  const all = (answer, choices) => () => { const these = choices(); leave(); pass(); choose(these, () => answer); };
  const leave = () => { if (dialog.open) dialog.close(); };
  const honoured = () => {
    const these = config.choices.filter(signal);
    return these.length ? [h("p", { className: "signal" }, fill("signal", { names: titles(these) }))] : [];
  };
  const more = (receipt) => [[config.policy, "policy"], [receipt, "receipt"]].filter(([href]) => href)
    .map(([href, word]) => h("p", {}, h("a", { href }, config.words[word])));
  const show = () => {
    const asked = config.choices.filter(waits), first = asked.some(asksFirst);
    const kind = first ? "opt-in" : asked.some((c) => c.ask === "opt-out") ? "opt-out" : "notice";
    const inside = card.contains(root.activeElement), these = () => asked;
    const close = () => { pass(); show(); };
    card.className = kind;
    card.hidden = !asked.length;
    card.replaceChildren(...(asked.length ? [
      h("button", { type: "button", className: "close", "aria-label": config.words[first ? "later" : "close"], onclick: close }, "×"),
      h("h2", {}, config.words.title),
      h("p", {}, config.words[kind]),
      h("ul", {}, ...asked.map((c) => h("li", {}, h("strong", {}, c.title), " ", h("span", { lang: c.language }, c.text)))),
      ...honoured(), ...more(),
      buttons(...{
        "opt-in": [["refuse", all("no", these)], ["accept", all("yes", these)]],
        "opt-out": [["opt-out-button", all("no", these)], ["ok", close]],
        notice: [["ok", close]],
      }[kind], ["choose", open, "quiet"]),
    ] : []));
    const seen = config.choices.some(signal);
    pill.hidden = asked.length || (options.button === "off" && !seen);
    pill.replaceChildren(config.words.open, ...(seen ? [h("span", {}, config.words.signalled)] : []));
    doc.documentElement.style.scrollPaddingBottom = asked.length ? card.offsetHeight + 32 + "px" : ""; // focus stays in sight
    if (inside) (asked.length ? card.querySelector("button") : pill).focus();
  };
  const open = () => {
    wanted = !dialog || !dialog.isConnected; // asked for too soon: it opens when it can
    if (wanted || dialog.open) return;
    opener = root.activeElement || doc.activeElement;
    const boxes = config.choices.map((c) => h("input", { type: "checkbox", role: "switch", checked: stands(c), id: "c-" + c.name, "aria-describedby": "d-" + c.name }));
    const chosen = () => config.choices.filter((c, i) => asksFirst(c) || boxes[i].checked !== stands(c));
    const save = () => {
      const these = chosen(), on = config.choices.filter((c, i) => boxes[i].checked);
      leave();
      pass();
      choose(these, (c) => on.includes(c) ? "yes" : "no");
    };
    dialog.replaceChildren(
      h("button", { type: "button", className: "close", "aria-label": config.words.close, onclick: leave }, "×"),
      h("h2", { id: "title", tabIndex: -1, autofocus: true }, config.words.choices),
      ...honoured(),
      ...config.choices.map((c, i) => h("div", { className: "choice" }, h("label", { htmlFor: boxes[i].id }, c.title), boxes[i],
        h("div", { id: "d-" + c.name, lang: c.language, dir: "auto" }, ...c.for.map((text) => h("p", {}, text))))),
      ...more(own.receipt),
      buttons(["refuse", all("no", () => config.choices)], ["accept", all("yes", () => config.choices)], ["save", save, "quiet"]));
    dialog.showModal();
  };
  const begin = () => {
    if (!config || !config.choices.length) return;
    later = stored("sessionStorage", {}).later || {};
    host = h("section", { id: "kept", "aria-label": config.words.open });
    host.style.position = "fixed"; // nothing on the page moves
    root = shade(host);
    card = h("div", { hidden: true, onkeydown: (e) => { if (e.key === "Escape") card.querySelector(".close").click(); } });
    pill = h("button", { type: "button", id: "pill", onclick: open, hidden: true });
    dialog = h("dialog", { "aria-modal": "true", "aria-labelledby": "title", onclose: () => {
      if (doc.activeElement && doc.activeElement !== doc.body) return; // the browser gave it back, or they have gone on
      const back = opener && opener.isConnected && !opener.closest("[hidden]") ? opener : card.hidden ? pill : card.querySelector("button");
      back.focus();
    } });
    says = h("p", { role: "status" });
    doc.body.prepend(host);
    apply();
    deliver();
  };
  const enter = () => {
    root.append(card, pill, dialog, says);
    show();
    if (!card.hidden) says.textContent = config.words.asked;
    if (wanted) open();
    if (stored("sessionStorage", {}).saved) {
      says.textContent = config.words.saved;
      store("sessionStorage", { later });
    }
  };

  const sheet = new CSSStyleSheet();
  const styled = fetch(base + "banner.css", { credentials: "omit", signal: AbortSignal.timeout(5000) })
    .then((got) => got.text()).then((text) => sheet.replaceSync(text)).catch(() => 0);
  recall();
  safely(google, "default");
  window.kept = { allows, open, get visitor() { return own.visitor; } };
  new MutationObserver((changes) => {
    if (config) for (const { addedNodes, removedNodes } of changes) {
      for (const e of removedNodes) if (covers.has(e)) uncover(e);
      for (const e of addedNodes) if (e.nodeType === 1) {
        if (e.matches("[data-kept]")) settle(e);
        e.querySelectorAll("[data-kept]").forEach(settle);
      }
    }
  }).observe(doc, { childList: true, subtree: true });
  doc.addEventListener("click", (e) => {
    if (e.target.closest("[data-kept-open]")) { e.preventDefault(); open(); }
  });
  addEventListener("online", () => config && deliver());
  // Another tab of the same site: what was chosen there holds here at once.
  const again = () => {
    if (!config || !says.isConnected) return;
    recall();
    for (const c of config.choices) for (const one of (own.config || config).choices) if (one.name === c.name) c.state = one.state;
    apply();
    show();
  };
  addEventListener("storage", (e) => e.key === "kept" && again());
  addEventListener("pageshow", (e) => e.persisted && again());
  const ready = new Promise((done) => doc.readyState === "loading" ? doc.addEventListener("DOMContentLoaded", done) : done());
  Promise.all([learn(), ready]).then(begin);
})();
