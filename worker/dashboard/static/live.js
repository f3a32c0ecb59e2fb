// Keeps the panels of a page up to date: polls each <section data-src data-every>, one timer for all. Without it the page reads as well.
"use strict";
(() => {
  const LATE = 15, SLOWEST = 30, ROWS = 200;
  const line = document.getElementById("live");
  const panels = [...document.querySelectorAll("section[data-src]")].map((section) => {
    return { section, every: Number(section.dataset.every), due: Number(section.dataset.every), tag: null };
  });
  let answered = Date.now(), paused = null, failures = 0, seconds = 0, asking = false;

  // A followed log: its rows come as events. While they do, what is new is not asked for.
  const log = document.querySelector("[data-follow]"), fresh = document.getElementById("new");
  let stream = null, last = null, again = 0;
  const flows = () => stream !== null && stream.readyState === EventSource.OPEN;

  function follow() {
    const wanted = log && !paused && !document.hidden;
    if (!wanted && stream) {
      stream.close();
      stream = null;
    }
    if (!wanted || stream || seconds < again) return;
    const from = new URL(log.dataset.follow, location);
    if (last) from.searchParams.set("after", last);
    stream = new EventSource(from);
    stream.onmessage = (event) => {
      const { rows, more } = JSON.parse(event.data);
      log.insertAdjacentHTML("afterbegin", rows);
      while (log.rows.length > ROWS && !inUse(log)) log.deleteRow(-1);
      document.getElementById("more").textContent = more;
      last = event.lastEventId;
      fresh.dataset.src = fresh.dataset.src.replace(/newer=[^&]*/, `newer=${last}`).replace(/&seen=\d+/, "");
    };
    // One that is refused, as there are enough, does not come back by itself.
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) return;
      stream = null;
      again = seconds + 60;
    };
  }

  const clock = (time) => new Date(time).toISOString().slice(11, 19);
  const lasted = (ms) => {
    const s = Math.round(ms / 1000);
    return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  };

  function show() {
    if (!line) return;
    const late = !paused && Date.now() - answered > LATE * 1000;
    const state = paused ? "paused" : late ? "late" : "on";
    const text = paused ? `Paused at ${clock(paused)} UTC, press p`
      : late ? `Not updated since ${clock(answered)} UTC, ${lasted(Date.now() - answered)}. Trying again.`
      : `Live, ${clock(answered)} UTC`;
    line.className = `live ${state}`;
    // Spoken only when the state changes, not each time the clock does.
    line.setAttribute("aria-live", line.dataset.state === state ? "off" : "polite");
    line.dataset.state = state;
    line.lastElementChild.textContent = text;
    document.body.classList.toggle("is-late", late);
  }

  // Nothing is taken away from somebody who is in it.
  function inUse(section) {
    const chosen = document.getSelection();
    return section.contains(document.activeElement) || chosen && !chosen.isCollapsed && section.contains(chosen.anchorNode);
  }

  async function update(panel) {
    const headers = panel.tag ? { "If-None-Match": panel.tag } : {};
    const answer = await fetch(panel.section.dataset.src, { headers, cache: "no-store", signal: AbortSignal.timeout(8000), redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) {
      location.reload(); // the session has ended
    } else if (answer.status === 200) {
      const html = await answer.text();
      if (inUse(panel.section)) return;
      const open = [...panel.section.querySelectorAll("details")].map((each) => each.open);
      panel.section.innerHTML = html;
      // A panel may say what to ask for the next time.
      panel.section.dataset.src = panel.section.querySelector("[data-src]")?.dataset.src ?? panel.section.dataset.src;
      panel.section.querySelectorAll("details").forEach((each, n) => { each.open = Boolean(open[n]); });
      panel.tag = answer.headers.get("ETag");
    } else if (answer.status !== 304) {
      throw new Error(String(answer.status));
    }
  }

  async function tick() {
    follow();
    if (document.hidden) return;
    seconds += 1;
    if (flows()) answered = Date.now();
    const due = paused || asking ? [] : panels.filter((panel) => panel.due <= seconds && !(panel.section === fresh && flows()));
    if (due.length) {
      asking = true;
      try {
        for (const panel of due) {
          await update(panel);
          panel.due = seconds + panel.every;
        }
        answered = Date.now();
        failures = 0;
      } catch {
        failures += 1;
        const wait = Math.min(2 ** failures, SLOWEST);
        due.forEach((panel) => { panel.due = seconds + wait; });
      }
      asking = false;
    }
    show();
  }

  function pause() {
    paused = paused ? null : Date.now();
    if (!paused) panels.forEach((panel) => { panel.due = 0; });
    show();
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) panels.forEach((panel) => { panel.due = 0; });
  });

  // The first links of the rows; j and k go through them.
  function row(step) {
    const rows = [...document.querySelectorAll("main tbody tr")].filter((each) => each.checkVisibility() && each.querySelector("a"));
    const at = rows.findIndex((each) => each.contains(document.activeElement));
    rows[at < 0 ? 0 : at + step]?.querySelector("a").focus();
  }

  function range(n) {
    document.querySelectorAll(".seg[aria-label^=Time] a")[n]?.click();
    const times = document.querySelector("main select[name=time]");
    if (times?.options[n]) {
      times.selectedIndex = n;
      times.form.requestSubmit();
    }
  }

  const filters = document.querySelector("main .form:not([method=post])");
  const sheet = document.getElementById("keys");
  const keys = {
    "/": () => document.querySelector(".find input")?.focus(),
    "?": () => sheet?.click(),
    j: () => row(1),
    k: () => row(-1),
    p: () => panels.length && pause(),
    x: () => filters && location.assign(filters.action),
    1: () => range(0), 2: () => range(1), 3: () => range(2), 4: () => range(3),
  };
  let before = "";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key === "Escape") typing ? typing.blur() : sheet?.ariaCurrent && history.back();
    if (typing || document.documentElement.dataset.keys === "off") return;
    const link = before === "g" && document.querySelector(`nav [data-key="${CSS.escape(event.key)}"]`);
    before = link ? "" : event.key;
    const act = link ? () => link.click() : keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  if (panels.length) {
    show();
    setInterval(tick, 1000);
  }
})();
