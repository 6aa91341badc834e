"""The explorer: a page at / to look through the documents that are served.

Rule 1: what is in a document is text to the page, never markup: it goes in by `textContent`, and the policy of the page
        lets no script run but its own.
Rule 2: nothing is asked of another machine: no font, no picture behind a `uri`. It works without the internet.
Rule 3: there is no document in the page itself. It asks for them by REST, with the key where one is wanted.
Rule 4: what can be heavy, blobs, is asked for only where it can be shown, and for a list only as far as it is seen.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from docarray.web.guards import Receive, Scope, Send
from docarray.web.limits import Limits

__all__ = ["page", "routes"]

_ROWS: Final = 25  # documents on a page
_BEST: Final = 50  # results of a search
_ELEMENTS: Final = 200  # documents that are listed below one


def routes(limits: Limits | None = None, links: Sequence[str] = ()) -> list[BaseRoute]:
    """The route of the page.

    Args:
        limits: of the service: no more documents are asked for than it gives at once.
        links: paths that the page links to, of 'docs' and 'graphiql'.
    """
    most = (limits or Limits()).page
    return [Route("/", _Page(min(_ROWS, most), min(_BEST, most), links))]


class _Page:
    """The page as an ASGI application."""

    def __init__(self, rows: int, best: int, links: Sequence[str]) -> None:
        self._said = rows, best, links

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, "this path takes GET, HEAD", {"Allow": "GET, HEAD"})
        nonce = base64.b64encode(os.urandom(16)).decode()
        body = page(nonce, *self._said).encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", policy(nonce).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def policy(nonce: str) -> str:
    """What the page may do, as the header Content-Security-Policy says it."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; media-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def page(nonce: str, rows: int = _ROWS, best: int = _BEST, links: Sequence[str] = ()) -> str:
    """The page, whose script and style bear this nonce.

    Args:
        nonce: of the policy.
        rows: documents on a page of the list.
        best: results of a search.
        links: see `routes`.

    >>> 'nonce="abc"' in page('abc')
    True
    """
    words = {"nonce": nonce, "rows": str(rows), "best": str(best), "below": str(_ELEMENTS)}
    words |= {"links": " ".join(links), "style": _STYLE, "script": _SCRIPT}
    said = _HTML
    for name, value in words.items():
        said = said.replace("{" + name + "}", value)
    return said


_HTML: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Documents</title>
<link rel="icon" href="data:,">
<style nonce="{nonce}">{style}</style>
<body data-rows="{rows}" data-best="{best}" data-below="{below}" data-links="{links}">
<header>
  <h1 id="name" dir="auto">Documents</h1>
  <p id="facts"></p>
  <nav id="links" aria-label="Other pages"></nav>
  <form id="ask" role="search">
    <label class="unseen" for="text">Search</label>
    <input id="text" type="search" placeholder="Search" autocomplete="off" maxlength="10000" dir="auto">
    <button>Search</button>
    <details>
      <summary>Filter</summary>
      <div>
        <label for="filter">Condition</label>
        <input id="filter" spellcheck="false" autocomplete="off" placeholder='{"tags__price": {"$lt": 30}}'>
        <label for="sort">Sort by</label>
        <input id="sort" spellcheck="false" autocomplete="off" placeholder="-tags__price" list="paths">
        <datalist id="paths"></datalist>
        <p id="fields"></p>
      </div>
    </details>
  </form>
</header>
<main>
  <section id="list" aria-label="Documents">
    <p id="status" role="status"></p>
    <ol id="rows"></ol>
    <nav id="pages" aria-label="Pages" hidden><button id="previous" type="button" disabled>Previous</button>
    <span id="place"></span><button id="next" type="button" disabled>Next</button></nav>
  </section>
  <section id="one" aria-label="Document" tabindex="-1" hidden></section>
</main>
<dialog id="door" aria-labelledby="wanted"><form method="dialog"><p id="wanted">A key is wanted here.</p>
  <label for="key">Key</label><input id="key" type="password" autocomplete="off" required>
  <button>Enter</button></form></dialog>
<noscript>This page needs JavaScript.</noscript>
<script nonce="{nonce}">{script}</script>
"""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --line: #e2e4e8; --paper: #ffffff; --back: #f6f7f8;
  --mark: #1a5fb4; --chosen: #e8effa; --wrong: #a8201a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #2e333a; --paper: #16181b;
  --back: #1d2024; --mark: #7fb0ff; --chosen: #22304a; --wrong: #ff8a80; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; display: flex; flex-direction: column; min-height: 100vh; color: var(--ink); background: var(--back);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; padding: 12px 20px;
  background: var(--paper); border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 17px; font-weight: 650; overflow-wrap: anywhere; min-width: 0; }
#facts { margin: 0; color: var(--soft); flex: 1 1 auto; }
#links { display: flex; gap: 14px; }
a { color: var(--mark); text-decoration: none; } a:hover { text-decoration: underline; }
form { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
#ask { flex: 1 1 100%; margin-top: 2px; }
input { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 10px; min-width: 0; }
#text { flex: 1 1 220px; max-width: 560px; }
button { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 12px; cursor: pointer; }
button:hover:enabled { border-color: var(--mark); }
button:disabled { opacity: .45; cursor: default; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
li button:focus-visible { outline-offset: -2px; }
#one:focus { outline: none; }
details { flex: 0 1 auto; } details[open] { flex: 1 1 100%; }
summary { color: var(--soft); cursor: pointer; padding: 6px 4px; }
details div { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 10px; align-items: center; }
details input, .id { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: 12.5px; }
#fields { grid-column: 2; margin: 0; color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
main { flex: 1; display: grid; grid-template-columns: minmax(0, 1fr); }
main.open { grid-template-columns: minmax(320px, 5fr) minmax(0, 6fr); }
section { padding: 8px 20px 20px; min-width: 0; }
#one { background: var(--paper); border-left: 1px solid var(--line); padding-top: 14px; position: sticky; top: 0;
  max-height: 100vh; overflow: auto; }
#status { margin: 4px 0 6px; color: var(--soft); min-height: 1.4em; overflow-wrap: anywhere; }
#status.wrong { color: var(--wrong); }
ol { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden;
  background: var(--paper); }
ol:empty { display: none; }
ol[aria-busy=true] { opacity: .6; }
li + li { border-top: 1px solid var(--line); }
li button { display: grid; grid-template: "thumb id score" auto "thumb said said" auto "thumb tags tags" auto /
  max-content minmax(0, 1fr) max-content; align-content: start; width: 100%; text-align: start; border: 0;
  border-radius: 0; padding: 8px 12px; background: none; }
li button:hover { background: var(--back); } li button[aria-current] { background: var(--chosen); }
.thumb { grid-area: thumb; width: 56px; height: 56px; margin: 0 12px 0 0; object-fit: contain; }
.id { grid-area: id; color: var(--soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.score { grid-area: score; color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums;
  margin-inline-start: 12px; }
.said { grid-area: said; overflow: hidden; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical;
  overflow-wrap: anywhere; }
.tags { grid-area: tags; color: var(--soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  font-size: 12.5px; }
ol:has(.thumb) li button { grid-template-columns: 68px minmax(0, 1fr) max-content; }
@media (min-width: 900px) { main:not(.open) #rows button { grid-template: "thumb id said score" 21px
  "thumb id tags score" 1fr / max-content minmax(12ch, 26ch) minmax(0, 1fr) max-content; padding: 7px 12px; }
  main:not(.open) #rows:has(.thumb) button { grid-template-columns:
  68px minmax(12ch, 26ch) minmax(0, 1fr) max-content; }
  main:not(.open) .thumb { height: 42px; }
  main:not(.open) .id { margin-inline-end: 16px; line-height: 20px; } main:not(.open) .said { -webkit-line-clamp: 1; } }
#pages { display: flex; gap: 10px; align-items: center; margin-top: 10px; color: var(--soft); }
.top { display: flex; gap: 8px; align-items: flex-start; margin-bottom: 10px; }
.top h2 { flex: 1; margin: 4px 0 0; font-size: 15px; font-weight: 650; overflow-wrap: anywhere; min-width: 0; }
.body { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 16px; max-width: 80ch; unicode-bidi: plaintext; }
#one img:not(.thumb), video { display: block; max-width: 100%; max-height: 50vh; margin: 0 0 16px; border-radius: 6px;
  background: var(--back); }
audio { display: block; width: 100%; margin-bottom: 16px; }
table { border-collapse: collapse; width: 100%; margin: 0 0 16px; }
caption, h3 { text-align: start; font-size: 12.5px; font-weight: 600; color: var(--soft); margin: 0;
  padding: 0 0 4px; }
th, td { text-align: start; vertical-align: top; padding: 4px 12px 4px 0; border-top: 1px solid var(--line);
  font-weight: 400; overflow-wrap: anywhere; unicode-bidi: plaintext; }
th { color: var(--soft); width: 1%; white-space: nowrap; max-width: 22ch; overflow: hidden; text-overflow: ellipsis; }
td:last-child:not(:nth-child(2)) { width: 1%; padding-right: 0; }
td button { padding: 0 6px; font-size: 12.5px; line-height: 18px; color: var(--soft); white-space: nowrap; }
h3 + ol { margin-bottom: 16px; }
dialog { border: 1px solid var(--line); border-radius: 10px; background: var(--paper); color: inherit; padding: 18px;
  max-width: calc(100vw - 24px); }
dialog p { flex: 1 1 100%; margin: 0; }
dialog::backdrop { background: rgb(0 0 0 / .35); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
noscript { padding: 20px; }
@media (max-width: 800px) { header, section { padding-left: 12px; padding-right: 12px; }
  main.open { grid-template-columns: minmax(0, 1fr); } main.open #list { display: none; }
  #one { border-left: 0; position: static; max-height: none; } }
"""

_SCRIPT: Final = r"""
"use strict";
const $ = (id) => document.getElementById(id);
const home = location.pathname.endsWith("/") ? location.pathname : location.pathname + "/";
const { rows: ROWS, best: BEST, below: BELOW, links: LINKS } = document.body.dataset;
const NAMES = ["text", "filter", "sort", "like", "id"];
const FIELDS = "text,uri,mime_type,modality,tags,scores";
const ALL = "text,uri,mime_type,modality,weight,parent_id,granularity,adjacency,offset,location,tags,scores,"
  + "evaluations,chunks,matches";
const SHOWN = /^(image\/(png|jpeg|gif|webp|avif|bmp)|audio\/[\w.+-]+|video\/[\w.+-]+)$/;
const state = { text: null, filter: null, sort: null, like: null, id: null };
let key = "", listTurn = 0, oneTurn = 0, pages = [], whole = null;

/* ------------------------------------------------------------------ elements */
function made(name, said, ...inside) {
  const element = document.createElement(name);
  for (const [what, value] of Object.entries(said || {})) {
    if (what === "text") element.textContent = value;
    else if (what.startsWith("on")) element.addEventListener(what.slice(2), value);
    else element.setAttribute(what, value);
  }
  element.append(...inside.filter((one) => one !== null));
  return element;
}

function say(text, wrong) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", Boolean(wrong));
}

function brief(value, most) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > most ? text.slice(0, most) + "\u2026" : text;
}

const counted = (count) => count.toLocaleString() + (count === 1 ? " document" : " documents");

/* ------------------------------------------------------------------ asking */
async function asked(path) {
  const mine = key;
  const answer = await fetch(home + path, { headers: mine ? { "X-API-Key": mine } : {}, cache: "no-store" });
  if (answer.status === 401) {
    if (mine === key) await unlocked();  // else another request has asked meanwhile
    return asked(path);
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error((found && found.detail) || "the server answered " + answer.status);
  return { found, headers: answer.headers };
}

let opening = null;
function unlocked() {
  opening ||= new Promise((resolve) => {
    if (key) $("wanted").textContent = "This key is not taken.";
    $("key").value = "";
    $("door").addEventListener("close", () => { key = $("key").value; opening = null; resolve(); }, { once: true });
    $("door").showModal();
  });
  return opening;
}

function pathOf(id, fields) {
  const asks = new URLSearchParams({ fields });
  let part = null;
  try { part = encodeURIComponent(id); } catch (error) { /* half a letter, which no path says */ }
  if (part === null || ["", ".", ".."].includes(id)) {
    asks.set("filter", JSON.stringify({ id: { $eq: id } }));
    return "documents?" + asks;
  }
  if (id === "count" || id === "delete") part = "%" + id.charCodeAt(0).toString(16) + id.slice(1);
  return "documents/" + part + "?" + asks;
}

async function fetchOne(id, fields) {
  const { found } = await asked(pathOf(id, fields));
  const one = Array.isArray(found) ? found[0] : found;
  if (!one) throw new Error("there is no such document");
  return one;
}

/* ------------------------------------------------------------------ the address keeps what is shown */
function fill() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of NAMES) state[name] = said.get(name);
  for (const name of ["text", "filter", "sort"]) $(name).value = state[name] || "";
  if (state.filter || state.sort) document.querySelector("details").open = true;
}

function remember(first) {
  const said = new URLSearchParams();
  for (const name of NAMES) if (state[name] !== null) said.set(name, state[name]);
  const hash = said.toString(), url = location.pathname + location.search + (hash ? "#" + hash : "");
  if (url !== location.pathname + location.search + location.hash) {
    history[first ? "replaceState" : "pushState"](null, "", url);
  }
}

/* ------------------------------------------------------------------ the list */
function query() {
  const ranked = state.text !== null || state.like !== null, said = new URLSearchParams();
  for (const name of ["text", "like", "filter"]) if (state[name] !== null) said.set(name, state[name]);
  if (state.sort !== null && !ranked) {
    for (const path of state.sort.split(",")) if (path.trim()) said.append("sort", path.trim());
  }
  said.set(ranked ? "limit" : "first", ranked ? BEST : ROWS);
  said.set("fields", FIELDS);
  return (ranked ? "search?" : "documents?") + said;
}

function following(headers) {
  const match = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("Link") || "");
  return match ? "documents" + new URL(match[1], location.href).search : null;
}

function summary(count, ranked) {
  const why = state.text !== null ? " for \u201c" + state.text + "\u201d"
    : state.like !== null ? " like " + brief(state.like, 60) : "";
  if (count === 0) return "No document" + why;
  if (ranked) return (String(count) === BEST ? "The best " : "") + counted(count) + why;
  return state.filter !== null && whole !== null && whole > count
    ? count.toLocaleString() + " of " + counted(whole) : counted(count);
}

async function show() {
  const mine = ++listTurn, path = pages.at(-1), ranked = path.startsWith("search");
  $("rows").setAttribute("aria-busy", "true");
  try {
    const { found, headers } = await asked(path);
    if (mine !== listTurn) return;
    const next = ranked ? null : following(headers), start = (pages.length - 1) * Number(ROWS);
    const total = ranked ? found.length : Number(headers.get("X-Total-Count"));
    seen.disconnect();
    $("rows").replaceChildren(...found.map((doc) => row(doc, () => open(doc.id))));
    mark();
    $("previous").disabled = pages.length < 2;
    $("next").disabled = next === null;
    $("next").dataset.path = next || "";
    $("pages").hidden = pages.length < 2 && next === null;
    $("place").textContent = found.length ? (start + 1).toLocaleString() + "\u2013"
      + (start + found.length).toLocaleString() + " of " + total.toLocaleString() : "";
    say(summary(total, ranked));
  } catch (error) {
    if (mine === listTurn) { $("rows").replaceChildren(); $("pages").hidden = true; say(error.message, true); }
  }
  if (mine === listTurn) $("rows").removeAttribute("aria-busy");
}

function list() {
  pages = [query()];
  return show();
}

function turn(to) {
  to();
  show().then(() => $("list").scrollIntoView({ block: "nearest" }));
}

function mark() {
  for (const button of document.querySelectorAll("#rows button")) {
    if (state.id !== null && button.dataset.id === state.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function score(doc) {
  const first = Object.entries(doc.scores || {})[0];
  return first && typeof first[1].value === "number" ? first[0] + " " + first[1].value.toPrecision(3) : "";
}

function row(doc, act) {
  const tags = Object.entries(doc.tags || {}).slice(0, 8)
    .map(([name, value]) => name + ": " + brief(value, 80)).join(" \u00b7 ");
  const kind = doc.text ? "" : doc.mime_type || doc.modality || "";
  const said = [kind, doc.text || brief(doc.uri || "", 200)].filter(Boolean).join("  ");
  const button = made("button", { type: "button", onclick: act }, thumb(doc),
    made("span", { class: "id", dir: "auto", text: doc.id }), made("span", { class: "score", text: score(doc) }),
    said ? made("span", { class: "said", dir: "auto", text: said.slice(0, 400) }) : null,
    tags ? made("span", { class: "tags", dir: "auto", text: tags }) : null);
  button.dataset.id = doc.id;
  return made("li", {}, button);
}

/* ------------------------------------------------------------------ pictures */
const isImage = (kind) => SHOWN.test(kind) && kind.startsWith("image/");

function source(doc) {  /* data of the document itself; no other uri is followed */
  const kind = doc.mime_type || "";
  if (typeof doc.uri === "string" && doc.uri.startsWith("data:")) {
    const said = doc.uri.slice(5).split(/[;,]/, 1)[0];
    if (SHOWN.test(said)) return [said, doc.uri];
  }
  return typeof doc.blob === "string" && SHOWN.test(kind) ? [kind, "data:" + kind + ";base64," + doc.blob] : null;
}

const waiting = [];
let busy = 0;
async function fetched() {  /* few at a time: documents that are looked at go first */
  if (busy >= 2 || !waiting.length) return;
  busy++;
  const [image, id] = waiting.shift();
  try {
    const found = image.isConnected ? source(await fetchOne(id, "blob,mime_type")) : null;
    if (found) image.src = found[1]; else image.remove();
  } catch (error) { image.remove(); }
  busy--;
  fetched();
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    waiting.push([target, target.parentNode.dataset.id]);
    fetched();
  }
});

function thumb(doc) {
  const found = source(doc);
  if (!isImage(found ? found[0] : doc.mime_type || "")) return null;
  const image = made("img", { class: "thumb", alt: "" });
  if (found) image.src = found[1];
  else if (doc.blob === undefined && !doc.uri) seen.observe(image);
  else return null;
  return image;
}

function media(doc) {
  const found = source(doc);
  if (!found) return null;
  const [kind, url] = found;
  if (kind.startsWith("image/")) return made("img", { src: url, alt: doc.text || doc.id });
  return made(kind.startsWith("audio/") ? "audio" : "video", { src: url, controls: "" });
}

function hasMedia(doc) {
  return (SHOWN.test(doc.mime_type || "") && !source(doc))
    || [...doc.chunks || [], ...doc.matches || []].some(hasMedia);
}

/* ------------------------------------------------------------------ one document */
async function open(id, first) {
  const mine = ++oneTurn;
  try {
    let doc = await fetchOne(id, ALL);
    if (hasMedia(doc)) doc = await fetchOne(id, ALL + ",blob");
    if (mine !== oneTurn) return;
    state.id = id;
    present(doc, []);
    remember(first);
    mark();
  } catch (error) { if (mine === oneTurn) say(error.message, true); }
}

function close(first) {
  const before = document.querySelector("#rows button[aria-current]");
  oneTurn++;
  state.id = null;
  $("one").hidden = true;
  document.querySelector("main").classList.remove("open");
  mark();
  if (before) before.focus();
  remember(first);
}

function shownValue(value) {
  return brief(value, typeof value === "string" && value.startsWith("data:") ? 60 : 20000);
}

function only(name, value) {  /* a filter for documents that have the same */
  const plain = ["number", "boolean"].includes(typeof value) || (typeof value === "string" && value.length <= 200);
  if (!plain || !/^[A-Za-z]\w*$/.test(name) || name.includes("__") || name.endsWith("_")) return null;
  return made("button", { type: "button", text: "only", "aria-label": "Only documents with " + name + " "
    + brief(value, 60), onclick: () => {
    const one = { ["tags__" + name]: { $eq: value } };
    let filter = one;
    try { if ($("filter").value.trim()) filter = { $and: [JSON.parse($("filter").value), one] }; } catch (error) {
      filter = one;  // what is no JSON gives way
    }
    $("filter").value = JSON.stringify(filter);
    document.querySelector("details").open = true;
    begin();
  } });
}

function table(title, pairs, more) {
  if (!pairs.length) return null;
  return made("table", {}, made("caption", { text: title }), made("tbody", {}, ...pairs.map(([name, value]) => {
    const button = more ? more(name, value) : null;
    return made("tr", {}, made("th", { scope: "row", title: name, text: name }),
      made("td", { text: shownValue(value) }), more ? made("td", {}, button) : null);
  })));
}

function below(doc, name, path) {
  const docs = doc[name] || [], most = Number(BELOW);
  if (!docs.length) return [];
  const title = (name === "chunks" ? "Chunks" : "Matches") + ", " + (docs.length > most ? "the first " + most + " of "
    : "") + docs.length.toLocaleString();
  const act = (one) => () => present(one, [...path, doc]);
  return [made("h3", { text: title }), made("ol", {}, ...docs.slice(0, most).map((one) => row(one, act(one))))];
}

function present(doc, path) {
  const known = ["id", "text", "tags", "scores", "evaluations", "chunks", "matches", "blob"];
  const plain = Object.entries(doc).filter(([name, value]) => !known.includes(name) && value !== null && value !== 0);
  const scores = [...Object.entries(doc.scores || {}), ...Object.entries(doc.evaluations || {})].map(
    ([name, one]) => [name, one && one.value !== undefined ? one.value : one]);
  const top = made("div", { class: "top" },
    path.length ? made("button", { type: "button", text: "Back",
      onclick: () => present(path.at(-1), path.slice(0, -1)) }) : null,
    made("h2", { dir: "auto", text: doc.id }),
    path.length ? null : made("button", { type: "button", text: "Similar", onclick: () => similar(doc.id) }),
    made("button", { type: "button", "aria-label": "Close", text: "\u00d7", onclick: () => close() }));
  const parts = [media(doc), doc.text ? made("p", { class: "body", text: doc.text }) : null,
    table("Tags", Object.entries(doc.tags || {}), path.length ? null : only), table("Scores", scores),
    table("Fields", plain)];
  $("one").replaceChildren(top, ...parts.filter((one) => one !== null), ...below(doc, "chunks", path),
    ...below(doc, "matches", path));
  $("one").hidden = false;
  $("one").scrollTop = 0;
  document.querySelector("main").classList.add("open");
  $("one").focus({ preventScroll: true });
  if (matchMedia("(max-width: 800px)").matches) window.scrollTo(0, 0);
}

/* ------------------------------------------------------------------ what people do */
function begin() {
  for (const name of ["text", "filter", "sort"]) state[name] = $(name).value.trim() || null;
  state.like = null;
  remember();
  return list();
}

function similar(id) {
  $("text").value = "";
  state.text = null;
  state.like = id;
  if (matchMedia("(max-width: 800px)").matches) close(true);
  remember();
  list();
}

function about(found) {
  whole = found.documents;
  $("name").textContent = document.title = found.name;
  $("facts").textContent = counted(found.documents) + ", " + found.storage;
  if (found.search.includes("meaning")) $("text").placeholder = "Search by meaning and words";
  const paths = [], words = [];
  for (const field of found.fields) {
    const keys = Object.entries(field.keys || {});
    for (const [name, kind] of keys) { paths.push("tags__" + name); words.push("tags__" + name + " " + kind); }
    if (field.arrays) words.push(field.name + " " + field.arrays.join(", "));
    else if (!keys.length && field.name !== "tags") {
      words.push(field.name);
      if (["text", "number"].includes(field.kind)) paths.push(field.name);
    }
  }
  $("fields").textContent = brief(words.slice(0, 60).join(" \u00b7 "), 2000);
  $("paths").replaceChildren(...paths.slice(0, 60).flatMap((path) =>
    [made("option", { value: path }), made("option", { value: "-" + path })]));
}

const TITLES = { docs: "REST", graphiql: "GraphQL" };
$("links").append(...LINKS.split(" ").filter((path) => TITLES[path]).map((path) =>
  made("a", { href: home + path, text: TITLES[path] })));
$("ask").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
$("next").addEventListener("click", () => turn(() => pages.push($("next").dataset.path)));
$("previous").addEventListener("click", () => turn(() => pages.pop()));
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || $("door").open) return;
  if (event.key === "/" && !typing) { event.preventDefault(); $("text").focus(); }
  else if (event.key === "Escape" && !typing && !$("one").hidden) close();
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.closest("ol")) {
    const all = [...event.target.closest("ol").querySelectorAll("button")], at = all.indexOf(event.target);
    const other = all[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (other) { event.preventDefault(); other.focus(); }
  }
});
window.addEventListener("popstate", () => {
  const before = state.id;
  fill();
  if (query() !== pages[0]) list();
  if (state.id === null) close(true); else if (state.id !== before) open(state.id, true);
});

(async () => {
  fill();
  try { about((await asked("info")).found); } catch (error) { say(error.message, true); return; }
  await list();
  if (state.id !== null) await open(state.id, true);
})();
"""
