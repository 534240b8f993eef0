// Questions and short messages. A dialog takes the focus and gives it back; whatever goes wrong is said inside it.

import { h } from "./dom.js";
import { can, session } from "./api.js";

const TOAST_MS = 6000;

/** Says something in a corner, and to screen readers. */
export function toast(text, kind) {
  const line = h("p", { class: kind ?? "" }, text);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), TOAST_MS);
}

/**
 * Asks: `{ title, sentence, fields: [node], confirm, danger, act: async (form) => … }`. `act` does it; what it throws is shown, and the dialog stays.
 * Answers whether it was done.
 */
export function ask({ title, sentence, fields = [], confirm, danger, act }) {
  return new Promise((resolve) => {
    const wrong = h("p", { class: "note-box bad", role: "alert", hidden: true });
    const done = h("button", { type: "submit", class: danger ? "danger" : "main" }, confirm);
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const form = h(
      "form",
      { method: "dialog", novalidate: false },
      h("h2", { id: "dialog-title" }, title),
      sentence ? h("p", { class: "faint" }, sentence) : null,
      ...fields,
      wrong,
      h("div", { class: "row end" }, cancel, done),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    let worked = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      done.disabled = true;
      try {
        await act(form);
        worked = true;
        dialog.close();
      } catch (error) {
        wrong.hidden = false;
        wrong.textContent = [error.message, ...(error.problems ?? [])].join("\n");
      }
      done.disabled = false;
    });
    dialog.addEventListener("close", () => {
      // A secret that was typed does not stay in the page.
      dialog.remove();
      resolve(worked);
    });
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input, select, textarea") ?? done).focus();
  });
}

/** Shows a text that is never shown again. */
export function reveal({ title, sentence, text }) {
  return new Promise((resolve) => {
    const code = h("code", { id: "revealed" }, text);
    const copy = h("button", { type: "button", class: "small" }, "Copy");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        copy.textContent = "Selected";
      }
    });
    const close = h("button", { type: "button", class: "main", onclick: () => dialog.close() }, "I have kept it");
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      h("div", { class: "stack" }, h("h2", { id: "dialog-title" }, title), h("p", { class: "faint" }, sentence), h("div", { class: "secret" }, code, copy), h("div", { class: "row end" }, close)),
    );
    dialog.addEventListener("close", () => {
      code.textContent = "";
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    copy.focus();
  });
}

/** A button for a change. Who lacks its role sees it with the reason, and it does nothing. */
export function deed(label, role, act, attributes = {}) {
  const allowed = can(role);
  const reason = `Needs the role ${role}; you are signed in as ${session.user}${session.roles.length ? "" : ", who may only look"}.`;
  return h(
    "button",
    {
      type: "button",
      ...attributes,
      "aria-disabled": allowed ? null : "true",
      title: allowed ? attributes.title : reason,
      onclick: () => (allowed ? act() : toast(reason)),
    },
    label,
    allowed ? null : h("span", { class: "hidden-text" }, " (" + reason + ")"),
  );
}
