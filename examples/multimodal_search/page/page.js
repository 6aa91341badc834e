"use strict";
const $ = (id) => document.getElementById(id);
const LIMIT = 12, SIDE = 256; // pixels of a picture that is sent
let picture = null; // base64, or null
let turn = 0;

/* What the server says to a request; what went wrong is an error with its words. */
async function asked(endpoint, body) {
  const answer = await fetch(endpoint, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error((said && said.detail) || "The server answered " + answer.status + ".");
  return said;
}

const image = (blob) => "data:image/png;base64," + blob;
const priced = (value) => value.toFixed(2);

function card(sticker) {
  const made = $("card").content.cloneNode(true), seen = sticker.chunks[1].blob;
  const scores = sticker.scores || {};
  made.querySelector("img").src = image(seen);
  made.querySelector("img").alt = sticker.tags.colour + " " + sticker.tags.shape;
  made.querySelector("button").addEventListener("click", () => like(seen));
  made.querySelector(".caption").textContent = sticker.text;
  made.querySelector(".price").textContent = priced(sticker.tags.price);
  if (scores.cosine) made.querySelector(".score").textContent = "distance " + scores.cosine.value.toFixed(2);
  return made;
}

function kept() {
  const shape = $("shape").value, price = $("price").value, terms = {};
  if (shape) terms.tags__shape = { $eq: shape };
  if (price) terms.tags__price = { $lte: Number(price) };
  return shape || price ? terms : null;
}

async function show() {
  const mine = ++turn, text = $("text").value.trim(), filter = kept();
  const parts = [];
  if (text) parts.push({ text });
  if (picture) parts.push({ blob: picture });
  const data = parts.length > 1 ? [{ chunks: parts }] : parts;
  const parameters = { limit: parts.length ? LIMIT : 100, ...(filter ? { filter } : {}) };
  $("found").setAttribute("aria-busy", "true");
  try {
    const said = await asked("search", { data, parameters });
    if (mine !== turn) return;
    const found = parts.length ? said.data[0].matches || [] : said.data;
    $("found").replaceChildren(...found.map(card));
    const count = found.length === 1 ? "1 sticker" : found.length + " stickers";
    const why = [text && "for “" + text + "”", picture && "like this picture"].filter(Boolean).join(" and ");
    say((found.length ? (parts.length ? "The best " : "") + count : "No sticker") + (why && " " + why));
  } catch (error) {
    if (mine !== turn) return;
    $("found").replaceChildren();
    say(error.message, true);
  }
  $("found").removeAttribute("aria-busy");
}

function say(text, wrong) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", Boolean(wrong));
}

function like(blob) {
  picture = blob;
  $("like").hidden = blob === null;
  if (blob) $("like").querySelector("img").src = image(blob);
  show();
  scrollTo(0, 0);
}

/* A file of the user as a small PNG on white: what is sent stays small, and says nothing of the camera. */
async function read(file) {
  try {
    const seen = await createImageBitmap(file), scale = Math.min(1, SIDE / Math.max(seen.width, seen.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(seen.width * scale));
    canvas.height = Math.max(1, Math.round(seen.height * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(seen, 0, 0, canvas.width, canvas.height);
    like(canvas.toDataURL("image/png").split(",")[1]);
  } catch (error) {
    say("This file is no picture that the browser can read.", true);
  }
}

async function begin() {
  try {
    const facts = (await asked("status", {})).parameters.__results__.indexer;
    $("facts").textContent = facts.stickers + " to search by words, by a picture, or by both";
    $("shape").append(...facts.shapes.map((name) => new Option(name)));
  } catch (error) {
    say(error.message, true);
    return;
  }
  show();
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); show(); });
$("file").addEventListener("change", () => { if ($("file").files[0]) read($("file").files[0]); $("file").value = ""; });
$("forget").addEventListener("click", () => like(null));
for (const id of ["shape", "price"]) $(id).addEventListener("change", show);
begin();
