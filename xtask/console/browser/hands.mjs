// What a person does and sees on a page, in the words of the page.

import { demand, until } from "./world.mjs";

export function hands(page) {
  const dialog = page.getByRole("dialog");
  const heading = (name) => page.getByRole("heading", { level: 1, name });
  const press = (name, within = page) => within.getByRole("button", { name, exact: true }).click();
  return {
    page,
    dialog,
    heading,
    press,
    toasted: (text) => page.locator(".toast", { hasText: text }).first().waitFor(),
    badge: (text) => page.locator(".heading .badge, .facts .badge", { hasText: text }).first().waitFor(),
    /** The rows of a list. */
    rows: (label) => page.getByRole("region", { name: label }).locator("tbody tr"),
    /** Fills in a dialog by labels, and presses its button. */
    async answer(button, fields = {}) {
      for (const [label, text] of Object.entries(fields)) await dialog.getByLabel(label).fill(text);
      await press(button, dialog);
    },
    /** The dialog is answered and gone. */
    gone: () => dialog.waitFor({ state: "detached" }),
    /** A field says this of itself, to those who see and to those who hear; what was typed in it stands. */
    async besides(field, text, typed) {
      await until(`the field says: ${text}`, async () => {
        const told = (await field.getAttribute("aria-describedby")) ?? "";
        const parts = await Promise.all(told.split(" ").filter(Boolean).map((id) => page.locator(`[id="${id}"].error`).allInnerTexts()));
        return parts.flat().some((part) => part.includes(text));
      });
      demand("the field is marked as wrong", (await field.getAttribute("aria-invalid")) === "true");
      if (typed !== undefined) demand("what was typed stands", (await field.inputValue()) === typed);
    },
  };
}

/** Longer than any reason may be. */
export const TOO_LONG = "x".repeat(201);
