// What pages do beside htmx: the form token on htmx requests, the copy buttons, and failures that are shown where they belong.
"use strict";

document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector('input[name="form_token"]');
  if (token && event.detail.verb !== "get") event.detail.headers["X-Form-Token"] = token.value;
  // Fields that were left alone do not belong into the address.
  for (const [name, value] of [...event.detail.formData.entries()]) {
    if (value === "") event.detail.formData.delete(name);
  }
});

// A refusal is a part of a page that says why: show it in place of the answer.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400 && event.detail.xhr.responseText) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

document.addEventListener("htmx:sendError", (event) => {
  const note = document.createElement("p");
  note.className = "notice bad";
  note.setAttribute("role", "alert");
  note.textContent = "The server does not answer. Is it still running?";
  event.detail.target.replaceChildren(note);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const text = button.parentElement.querySelector("pre").textContent;
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector("pre"));
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    said = "Selected: press Ctrl+C";
  }
  const before = button.innerHTML;
  button.textContent = said;
  setTimeout(() => { button.innerHTML = before; }, 2000);
});

// Plain forms leave their empty fields out of the address too.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get" || form.hasAttribute("hx-get")) return;
  for (const field of form.elements) {
    if (field.name && field.value === "") field.disabled = true;
  }
  setTimeout(() => { for (const field of form.elements) field.disabled = false; }, 0);
});

// A list that is open shows what comes: it asks every few seconds, while somebody can see it.
setInterval(() => {
  if (document.visibilityState !== "visible") return;
  for (const place of document.querySelectorAll("[data-live]")) htmx.trigger(place, "look");
}, 3000);

// On a phone the pages are in a row that scrolls: the one that is open is in view.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
